# Both firewalls. A rule is a table as the real functions read it.

function Reset-FirewallWorld {
    $script:World += @{
        Rules = New-Object System.Collections.ArrayList
        HyperV = New-Object System.Collections.ArrayList
        HasHyperV = $true
        Merge = 'True'
        Relay = 'C:\Program Files\wslmesh\wslmesh-relay.exe'
        Current = 2
        Override = $null
        Open = $false
        Shut = @()
        # Names of rules that cannot be made.
        Unmakeable = @()
    }
}

# A rule of somebody else: blocks TCP port 2222 for every program.
function New-RuleSample {
    param([string] $Name)
    @{
        Name = $Name
        Enabled = $true
        Inbound = $true
        Allow = $false
        Protocol = 6
        LocalPorts = '2222'
        RemotePorts = '*'
        LocalAddresses = '*'
        Remote = '*'
        Program = ''
        Service = ''
        Profiles = 7
    }
}

function ConvertTo-InstalledRule {
    param([hashtable] $Rule)
    $standing = New-RuleSample -Name $Rule.Name
    $standing.Allow = $Rule.Allow
    $standing.Protocol = $Rule.Protocol
    $standing.LocalPorts = $Rule.Ports
    $standing.LocalAddresses = $Rule.Local
    $standing.Remote = $Rule.Remote
    $standing.Program = $Rule.Program
    $standing.Service = $Rule.Service
    $standing.Profiles = $Rule.Profiles
    $standing
}

function Get-FirewallText {
    $all = @($script:World.Rules) + @($script:World.HyperV)
    @($all | ForEach-Object { '[' + (Get-TableText -Table $_) + ']' } | Sort-Object) -join ' '
}

function Select-Rules {
    param([object[]] $Rules, [hashtable] $Names)
    $found = @{}
    foreach ($rule in $Rules) {
        if ($Names.ContainsKey($rule.Name)) {
            if (-not $found.ContainsKey($rule.Name)) {
                $found[$rule.Name] = New-Object System.Collections.ArrayList
            }
            [void] $found[$rule.Name].Add($rule)
        }
    }
    $found
}

function Get-WinFirewall {
    param([hashtable] $Names, [bool] $Blocking, [bool] $Allowing)
    $blocks = @()
    $allows = @()
    if ($Allowing) {
        $allows = @($script:World.Rules | Where-Object { $_.Enabled -and $_.Inbound -and $_.Allow })
    }
    if ($Blocking) {
        $blocks = @($script:World.Rules | Where-Object { $_.Enabled -and $_.Inbound -and (-not $_.Allow) -and (-not $Names.ContainsKey($_.Name)) })
    }
    @{
        Found = Select-Rules -Rules $script:World.Rules.ToArray() -Names $Names
        Blocks = $blocks
        Allows = $allows
        Open = $script:World.Open
        Current = $script:World.Current
        Override = $script:World.Override
        Shut = $script:World.Shut
        Strangers = @($script:World.Rules | Where-Object { $_.ContainsKey('Group') -and (-not $Names.ContainsKey($_.Name)) } | ForEach-Object { $_.Name })
    }
}

function Add-WinFirewallRule {
    param([hashtable] $Rule)
    if ($script:World.Unmakeable -ccontains $Rule.Name) {
        throw 'refused'
    }
    [void] $script:World.Rules.Add((ConvertTo-InstalledRule -Rule $Rule))
}

# As Windows does: one rule of this name at a time.
function Remove-WinFirewallRule {
    param([string] $Name, [int] $Count)
    for ($turn = 0; $turn -lt $Count; $turn += 1) {
        $named = @($script:World.Rules | Where-Object { $_.Name -ceq $Name })
        $script:World.Rules.Remove($named[0])
    }
}

function Test-WinGuestFirewall {
    $script:World.HasHyperV
}

function Get-WinGuestRules {
    param([hashtable] $Names)
    Assert-True -Found $script:World.HasHyperV -What 'the firewall of guests is there'
    Select-Rules -Rules $script:World.HyperV.ToArray() -Names $Names
}

function Add-WinGuestRule {
    param([hashtable] $Rule)
    Assert-True -Found $script:World.HasHyperV -What 'the firewall of guests is there'
    [void] $script:World.HyperV.Add((ConvertTo-InstalledRule -Rule $Rule))
}

function Remove-WinGuestRule {
    param([string] $Name)
    $named = @($script:World.HyperV | Where-Object { $_.Name -ceq $Name })
    $script:World.HyperV.Remove($named[0])
}

function Get-WinGuestSetting {
    param([int] $Seconds)
    @{ Items = @(ConvertFrom-Json -InputObject ('{"AllowHostPolicyMerge":"' + $script:World.Merge + '"}')); Problem = $null; Absent = $false }
}

# The rules whose names are like this.
function Find-WorldRules {
    param([string] $Like)
    $script:World.Rules | Where-Object { $_.Name -clike $Like }
}
