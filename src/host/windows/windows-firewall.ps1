# The firewall of Windows, by its COM objects: fast, never localised, without WMI.
# Rules that group policy makes are not among them.

# What a forward can be served by on Windows. The relay counts only below Program
# Files, where the user cannot replace it.
function Get-Programs {
    @{
        ServiceHost = [System.IO.Path]::Combine([Environment]::SystemDirectory, 'svchost.exe')
        Relay = Get-InstalledRelay
    }
}

# Fields that are not set come as $null.
function Read-WindowsRule {
    param($Rule)
    @{
        Name = [string] $Rule.Name
        Enabled = [bool] $Rule.Enabled
        Inbound = ([int] $Rule.Direction) -eq 1
        Allow = ([int] $Rule.Action) -eq 1
        Protocol = [int] $Rule.Protocol
        LocalPorts = [string] $Rule.LocalPorts
        RemotePorts = [string] $Rule.RemotePorts
        LocalAddresses = [string] $Rule.LocalAddresses
        Remote = [string] $Rule.RemoteAddresses
        Program = [Environment]::ExpandEnvironmentVariables([string] $Rule.ApplicationName)
        Service = [string] $Rule.ServiceName
        Profiles = [int] $Rule.Profiles
    }
}

# Rules with one of the names, enabled Block rules for what comes in, and the state of
# the profiles that Windows' networks have now. The list is hundreds of rules long: it
# is read when something is asked of it.
function Get-WindowsFirewall {
    param([hashtable] $Names, [bool] $Blocking)
    $found = @{}
    $blocks = New-Object System.Collections.ArrayList
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    $rules = @()
    if ($Blocking -or ($Names.Count -gt 0)) {
        $rules = $policy.Rules
    }
    foreach ($rule in $rules) {
        $name = [string] $rule.Name
        if ($Names.ContainsKey($name)) {
            if (-not $found.ContainsKey($name)) {
                $found[$name] = New-Object System.Collections.ArrayList
            }
            [void] $found[$name].Add((Read-WindowsRule -Rule $rule))
        } elseif ((([int] $rule.Action) -eq 0) -and (([int] $rule.Direction) -eq 1) -and [bool] $rule.Enabled) {
            [void] $blocks.Add((Read-WindowsRule -Rule $rule))
        }
    }
    $current = [int] $policy.CurrentProfileTypes
    $override = $null
    switch ([int] $policy.LocalPolicyModifyState) {
        1 { $override = 'group policy rules the firewall of this machine: its own rules may have no effect' }
        2 { $override = 'Windows keeps everything out that comes in, whatever the rules say' }
    }
    @{
        Found = $found
        Blocks = $blocks.ToArray()
        Current = $current
        Override = $override
        Shut = @(Get-ShutProfiles -Policy $policy -Current $current)
    }
}

# Profiles that keep out even what a rule allows.
function Get-ShutProfiles {
    param($Policy, [int] $Current)
    foreach ($bit in @(1, 2, 4)) {
        if ((($Current -band $bit) -ne 0) -and [bool] $Policy.BlockAllInboundTraffic($bit)) {
            'all that comes in is blocked in the profile ' + (ConvertTo-ProfileNames -Bits $bit)
        }
    }
}

# The protocol comes before the port: the port's form depends on it.
function Add-WindowsRule {
    param([hashtable] $Rule)
    $new = New-Object -ComObject 'HNetCfg.FWRule'
    $new.Name = $Rule.Name
    $new.Description = 'A forward into WSL. Made and removed by wslmesh.'
    $new.Grouping = 'wslmesh'
    $new.ApplicationName = $Rule.Program
    if ($Rule.Service -cne '') {
        $new.ServiceName = $Rule.Service
    }
    $new.Protocol = $Rule.Protocol
    $new.LocalPorts = [string] $Rule.Port
    $new.LocalAddresses = $Rule.Local
    $new.RemoteAddresses = $Rule.Remote
    $new.Direction = 1
    $new.Action = 1
    $new.Profiles = $Rule.Profiles
    $new.Enabled = $true
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    [void] $policy.Rules.Add($new)
}

# Each call takes away one rule of this name.
function Remove-WindowsRule {
    param([string] $Name, [int] $Count)
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    for ($turn = 0; $turn -lt $Count; $turn += 1) {
        [void] $policy.Rules.Remove($Name)
    }
}
