# The policy: what an administrator agreed to for one Windows user, and the installation
# that goes with it. What the registry says is read with the same distrust as a request,
# and the elevated side checks all of it again: it trusts no input.

$Contract = 2
$SidPattern = '\AS-1-(?:5-21|12-1)(?:-(?:0|[1-9][0-9]{0,9})){4}\z'
$HashPattern = '\A[0-9a-f]{64}\z'
$PackagePattern = '\A[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}\z'
# For a value of an object: any number of items.
$List = @{ Of = [object]; Least = 0; Most = 2147483647 }
# WSL itself takes letters, digits, dots, underscores and dashes; the name becomes an
# argument of a task, where a leading dash would be an option.
$DistributionPattern = '\A[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\z'
$InstalledFiles = @('forward.ps1', 'wslmesh-relay.exe')
# The firewall's own bits.
$ProfileNames = @('domain', 'private', 'public')
$ProfileBits = @{ 'domain' = 1; 'private' = 2; 'public' = 4 }

function ConvertTo-Grant {
    param($Grant, [string] $Place)
    $ports = @{ Of = @(1, 65535); Least = 2; Most = 2 }
    Assert-Fields -Object $Grant -Place $Place -Fields @{
        'protocol' = @('tcp', 'udp'); 'listen-address' = $ListenPattern; 'listen-ports' = $ports; 'connect-ports' = $ports
        'firewall' = @('none', 'local', 'full'); 'backend' = @('auto', 'relay', 'portproxy')
    }
    $served = ($Grant.'protocol' -ceq 'tcp') -or ($Grant.'backend' -cne 'portproxy')
    Assert-Valid -Value $served -Message ($Place + ': the port proxy knows TCP alone')
    $reached = ($Grant.'backend' -cne 'portproxy') -or (-not (Test-Version6 -Address $Grant.'listen-address'))
    Assert-Valid -Value $reached -Message ($Place + ': the port proxy knows IPv4 alone')
    $listen = $Grant.'listen-ports'
    $connect = $Grant.'connect-ports'
    $rising = ($listen[0] -le $listen[1]) -and ($connect[0] -le $connect[1])
    Assert-Valid -Value $rising -Message ($Place + ': the first port must not be above the last')
    @{
        Protocol = $Grant.'protocol'; Address = $Grant.'listen-address'; Firewall = $Grant.'firewall'; Backend = $Grant.'backend'
        Listen = @{ First = [int] $listen[0]; Last = [int] $listen[1] }; Connect = @{ First = [int] $connect[0]; Last = [int] $connect[1] }
    }
}

function ConvertTo-ProfileNames {
    param([int] $Bits)
    $ProfileNames | Where-Object { ($Bits -band $ProfileBits[$_]) -ne 0 }
}

function ConvertTo-Policy {
    param([string] $Text)
    $policy = ConvertFrom-RequestText -Text $Text -Place 'policy'
    Assert-Fields -Object $policy -Place 'policy' -Fields @{
        'version' = @(2, 2); 'package' = $PackagePattern; 'distribution' = $DistributionPattern; 'logon' = [bool]
        'mode' = @('nat', 'mirrored'); 'profiles' = @{ Of = $ProfileNames; Least = 1; Most = 3 }; 'grants' = @{ Of = [object]; Least = 0; Most = 200 }
    }
    $bits = 0
    foreach ($name in $policy.'profiles') { $bits = $bits -bor $ProfileBits[$name] }
    $grants = @(foreach ($item in $policy.'grants') { ConvertTo-Grant -Grant $item -Place 'policy.grants' })
    @{
        Package = $policy.'package'; Distribution = $policy.'distribution'; Logon = $policy.'logon'; Mode = $policy.'mode'
        Profiles = $bits; Grants = $grants; Forbidden = $false
    }
}

# A policy as a table of our own making: fields in one order and nothing that was
# not checked, so that two equal policies are equal texts.
function ConvertTo-PolicyTable {
    param([string] $Text)
    $policy = ConvertTo-Policy -Text $Text
    [ordered] @{
        'version' = 2; 'package' = $policy.Package; 'distribution' = $policy.Distribution; 'logon' = $policy.Logon
        'mode' = $policy.Mode; 'profiles' = @(ConvertTo-ProfileNames -Bits $policy.Profiles)
        'grants' = @(foreach ($grant in $policy.Grants) {
            [ordered] @{
                'protocol' = $grant.Protocol; 'listen-address' = $grant.Address
                'listen-ports' = @($grant.Listen.First, $grant.Listen.Last)
                'connect-ports' = @($grant.Connect.First, $grant.Connect.Last); 'firewall' = $grant.Firewall; 'backend' = $grant.Backend
            }
        })
    }
}

# File name to SHA-256: exactly the files that are expected, each once.
function ConvertTo-Hashes {
    param([object[]] $Files, [string[]] $Names)
    $hashes = @{}
    foreach ($file in $Files) {
        Assert-Fields -Object $file -Place 'files' -Fields @{ 'name' = $Names; 'sha256' = $HashPattern }
        $hashes[$file.'name'] = $file.'sha256'
    }
    $each = ($hashes.Count -eq $Names.Count) -and ($Files.Count -eq $Names.Count)
    Assert-Valid -Value $each -Message 'files: not those that are expected'
    $hashes
}

# The first grant whose protocol and both ranges fit, or $null. It alone says where
# the forward listens and what the firewall lets through.
function Find-Grant {
    param([hashtable] $Policy, [string] $Protocol, [int] $ListenPort, [int] $ConnectPort)
    foreach ($grant in $Policy.Grants) {
        if (($grant.Protocol -ceq $Protocol) -and
            ($ListenPort -ge $grant.Listen.First) -and ($ListenPort -le $grant.Listen.Last) -and
            ($ConnectPort -ge $grant.Connect.First) -and ($ConnectPort -le $grant.Connect.Last)) {
            return $grant
        }
    }
    $null
}

function Test-Version6 {
    param([string] $Address)
    $Address -clike '*:*'
}

# Whether the port proxy could serve it: its rules from IPv6 to IPv4 are no part of ours.
function Test-Proxied {
    param([hashtable] $Forward)
    ($Forward.Protocol -ceq 'tcp') -and (-not (Test-Version6 -Address $Forward.Address))
}

# What serves the forwards of a grant on this Windows: 'guest', 'relay' or 'portproxy'.
function Get-GrantServer {
    param([hashtable] $Policy, [hashtable] $Grant)
    if ($Policy.Mode -ceq 'mirrored') { return 'guest' }
    $instead = ($Grant.Backend -ceq 'auto') -and $Policy.Forbidden -and (Test-Proxied -Forward $Grant)
    if ($instead -or ($Grant.Backend -ceq 'portproxy')) { return 'portproxy' }
    'relay'
}

# Whether a task must make forwards for this policy.
function Test-NeedsTask {
    param([hashtable] $Policy)
    @($Policy.Grants | Where-Object { (Get-GrantServer -Policy $Policy -Grant $_) -ceq 'portproxy' }).Count -gt 0
}

# Numbers by which Windows says that a policy keeps a program from being started: group policy (AppLocker, software
# restriction), then Smart App Control and other code integrity.
function Test-PolicyError {
    param($Code)
    (@(786, 1260, 1277) -contains $Code) -or (($Code -is [int]) -and ($Code -ge 4550) -and ($Code -le 4599))
}

function New-Refused {
    param([hashtable] $Forward, [string] $Reason)
    [ordered] @{
        'protocol' = $Forward.Protocol; 'listen-port' = $Forward.ListenPort
        'connect-port' = $Forward.ConnectPort; 'reason' = $Reason
    }
}

# The policy of a user as the registry has it, with whether Windows keeps the relay from being started. A policy that
# cannot be read is no fault of the request.
function Get-InstalledPolicy {
    param([string] $Sid)
    try {
        $policy = ConvertTo-Policy -Text (Get-OwnValue -Sid $Sid -Name 'policy')
        $policy.Forbidden = (Get-OwnValue -Sid $Sid -Name 'relay') -ceq 'forbidden'
        $policy
    } catch [System.IO.InvalidDataException] {
        # Its reason may repeat what the registry has.
        throw 'the policy in the registry is damaged; run "wslmesh host install" again'
    }
}

function Get-OwnValue {
    param([string] $Sid, [string] $Name)
    [string] (Get-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid))[$Name]
}

function New-FileList {
    param([hashtable] $Hashes)
    foreach ($name in $InstalledFiles) {
        if ($Hashes.ContainsKey($name)) { [ordered] @{ 'name' = $name; 'sha256' = $Hashes[$name] } }
    }
}

# What the registry has as "installed", and what answers have of it.
function New-Installed {
    param([string] $Package, [hashtable] $Hashes)
    [ordered] @{ 'version' = $Package; 'contract' = $Contract; 'files' = @(New-FileList -Hashes $Hashes) }
}

# The value "installed" as a table with Version, Contract and Text; $null without one.
# A value that is no longer what was written counts as another version's.
function Read-Installed {
    param([hashtable] $Values)
    if (-not $Values.ContainsKey('installed')) { return $null }
    try {
        $found = ConvertFrom-RequestText -Text $Values['installed'] -Place 'installed'
        Assert-Value -Value $found.'version' -Kind '\A[^\x00-\x1F\x7F]{1,256}\z' -Place 'installed.version'
        Assert-Value -Value $found.'contract' -Kind @(1, 2147483647) -Place 'installed.contract'
        @{ Version = $found.'version'; Contract = [int] $found.'contract'; Text = $Values['installed'] }
    } catch {
        # No version has contract 0: the caller decides as for another version.
        @{ Version = 'unknown'; Contract = 0; Text = $Values['installed'] }
    }
}

# Windows users with a policy, but for this one: they need the programs. A key without
# a policy is what is left of something and needs nothing.
function Find-OtherUsers {
    param([string] $Sid)
    Get-WinRegistryKeys -Path 'SOFTWARE\wslmesh' | Where-Object {
        ($_ -cmatch $SidPattern) -and ($_ -cne $Sid) -and (Get-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $_)).ContainsKey('policy')
    }
}

# Words for an install of another contract that other users still need, or $null.
function Find-ContractConflict {
    param($Installed, [string[]] $Others)
    if (($null -eq $Installed) -or ($Others.Count -eq 0) -or ($Installed.Contract -eq $Contract)) { return $null }
    'version {0} (contract {1}) is installed for {2} other Windows user(s) of this machine, and this version (contract {3}) cannot share its files; bring the other installs to this version, or remove them, first' -f $Installed.Version, $Installed.Contract, $Others.Count, $Contract
}

# A folder of Windows. One that Windows does not name must end the call: what is made from no text lies in the root
# of the current drive, and an uninstall would empty it.
function Get-KnownFolder {
    param([string] $Name)
    $path = Get-WinPath -Name $Name
    if ($path -ceq '') { throw ('Windows does not say where this account has the folder "{0}"; log on to Windows again, or restart it' -f $Name) }
    $path
}

function Get-InstalledFolder {
    (Get-KnownFolder -Name 'ProgramFiles') + '\wslmesh'
}

# The relay that administrators alone can replace.
function Get-RelayPath {
    (Get-InstalledFolder) + '\wslmesh-relay.exe'
}

# Where things are: Windows' own programs, ours, and what belongs to the user.
function Get-Places {
    $user = (Get-KnownFolder -Name 'LocalApplicationData') + '\wslmesh'
    $windowless = (Get-KnownFolder -Name 'ProgramFiles') + '\WSL\wslg.exe'
    if (-not (Test-WinFile -Path $windowless)) { $windowless = $null }
    @{
        System = Get-KnownFolder -Name 'System'; Program = Get-InstalledFolder; Windowless = $windowless
        User = $user; Staging = $user + '\staging'
    }
}
