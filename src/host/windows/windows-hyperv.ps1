# The firewall of guests. Windows has no other way to it than cmdlets, which ask WMI.

function Test-HyperVFirewall {
    $null -ne (Get-Command -Name 'New-NetFirewallHyperVRule' -ErrorAction 'SilentlyContinue')
}

# Text of a property that not every Windows has; a list becomes one text.
function Read-Property {
    param($Object, [string] $Name)
    $property = $Object.PSObject.Properties[$Name]
    if (($null -eq $property) -or ($null -eq $property.Value)) {
        return ''
    }
    @($property.Value) -join ','
}

# The cmdlets write 'Any' and names where the other firewall has '*' and numbers.
function Read-HyperVRule {
    param($Rule)
    $any = @{}
    foreach ($name in @('LocalAddresses', 'RemoteAddresses', 'RemotePorts', 'LocalPorts')) {
        $text = Read-Property -Object $Rule -Name $name
        $any[$name] = $text
        if (($text -eq '') -or ($text -eq 'Any')) {
            $any[$name] = '*'
        }
    }
    $protocols = @{ 'TCP' = 6; '6' = 6; 'UDP' = 17; '17' = 17 }
    $protocol = 0
    $text = Read-Property -Object $Rule -Name 'Protocol'
    if ($protocols.ContainsKey($text)) {
        $protocol = $protocols[$text]
    }
    # One that does not tell its profiles holds in all of them.
    $profiles = 0
    $text = Read-Property -Object $Rule -Name 'Profiles'
    if (($text -eq '') -or ($text -eq 'Any') -or ($text -eq '0')) {
        $profiles = 7
    }
    $bits = @{ 'Domain' = 1; 'Private' = 2; 'Public' = 4 }
    foreach ($part in $text.Split(',')) {
        if ($bits.ContainsKey($part.Trim())) {
            $profiles = $profiles -bor $bits[$part.Trim()]
        }
    }
    @{
        Name = Read-Property -Object $Rule -Name 'Name'
        Enabled = (Read-Property -Object $Rule -Name 'Enabled') -eq 'True'
        Inbound = (Read-Property -Object $Rule -Name 'Direction') -eq 'Inbound'
        Allow = (Read-Property -Object $Rule -Name 'Action') -eq 'Allow'
        Protocol = $protocol
        LocalPorts = $any['LocalPorts']
        RemotePorts = $any['RemotePorts']
        LocalAddresses = $any['LocalAddresses']
        Remote = $any['RemoteAddresses']
        Program = ''
        Service = ''
        Profiles = $profiles
    }
}

# Rules with one of the names. A failure to read must be one: taken for an empty
# list, the ledger would forget rules that stand.
function Get-HyperVFirewall {
    param([hashtable] $Names)
    $found = @{}
    foreach ($rule in Get-NetFirewallHyperVRule) {
        $name = Read-Property -Object $rule -Name 'Name'
        if (-not $Names.ContainsKey($name)) {
            continue
        }
        if (-not $found.ContainsKey($name)) {
            $found[$name] = New-Object System.Collections.ArrayList
        }
        [void] $found[$name].Add((Read-HyperVRule -Rule $rule))
    }
    $found
}

# In mirrored mode a guest has the addresses of Windows.
function Add-HyperVRule {
    param([hashtable] $Rule)
    $protocol = 'TCP'
    if ($Rule.Protocol -eq 17) {
        $protocol = 'UDP'
    }
    $remote = 'LocalSubnet'
    if ($Rule.Remote -ceq '*') {
        $remote = 'Any'
    }
    $local = @('Any')
    if ($Rule.Local -cne '*') {
        $local = @($Rule.Local.Split(','))
    }
    $profiles = @(ConvertTo-ProfileNames -Bits $Rule.Profiles) -join ', '
    New-NetFirewallHyperVRule -Name $Rule.Name -DisplayName $Rule.Name -Direction 'Inbound' -VMCreatorId '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}' -Protocol $protocol -LocalAddresses $local -LocalPorts ([string] $Rule.Port) -RemoteAddresses $remote -Profiles $profiles -Action 'Allow' -Enabled 'True' | Out-Null
}

function Remove-HyperVRule {
    param([string] $Name)
    Remove-NetFirewallHyperVRule -Name $Name | Out-Null
}
