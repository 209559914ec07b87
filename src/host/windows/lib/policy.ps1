# The policy: what an administrator agreed to for one Windows user, and the installation
# that goes with it.

function ConvertTo-Range {
    param($Value, [string] $Place)
    if (($Value -isnot [System.Collections.IList]) -or ($Value.Count -ne 2)) {
        throw (New-InvalidRequest -Message ($Place + ': must be a list of two ports'))
    }
    $first = ConvertTo-Port -Value $Value[0] -Place ($Place + '[0]')
    $last = ConvertTo-Port -Value $Value[1] -Place ($Place + '[1]')
    if ($first -gt $last) {
        throw (New-InvalidRequest -Message ($Place + ': the first port must not be above the last'))
    }
    @{ First = $first; Last = $last }
}

function ConvertTo-Grant {
    param($Grant, [string] $Place)
    Assert-Fields -Object $Grant -Place $Place -Names @('protocol', 'listen-address', 'listen-ports', 'connect-ports', 'firewall')
    @{
        Protocol = ConvertTo-Choice -Value $Grant.'protocol' -Choices @('tcp', 'udp') -Place ($Place + '.protocol')
        Address = ConvertTo-Address -Value $Grant.'listen-address' -Place ($Place + '.listen-address')
        Listen = ConvertTo-Range -Value $Grant.'listen-ports' -Place ($Place + '.listen-ports')
        Connect = ConvertTo-Range -Value $Grant.'connect-ports' -Place ($Place + '.connect-ports')
        Firewall = ConvertTo-Choice -Value $Grant.'firewall' -Choices @('none', 'local', 'full') -Place ($Place + '.firewall')
    }
}

# Names of profiles as the firewall's own bits: domain 1, private 2, public 4.
function ConvertTo-ProfileBits {
    param($Names, [string] $Place)
    if (($Names -isnot [System.Collections.IList]) -or ($Names.Count -eq 0)) {
        throw (New-InvalidRequest -Message ($Place + ': must be a list that is not empty'))
    }
    $bits = 0
    foreach ($name in $Names) {
        $choice = ConvertTo-Choice -Value $name -Choices @('domain', 'private', 'public') -Place $Place
        switch -CaseSensitive ($choice) {
            'domain' { $bits = $bits -bor 1 }
            'private' { $bits = $bits -bor 2 }
            'public' { $bits = $bits -bor 4 }
        }
    }
    $bits
}

function ConvertTo-Policy {
    param([string] $Text)
    try {
        $policy = ConvertFrom-Json -InputObject $Text
    } catch {
        throw (New-InvalidRequest -Message 'policy: not JSON')
    }
    Assert-Fields -Object $policy -Place 'policy' -Names @('version', 'package', 'distribution', 'logon', 'profiles', 'grants')
    if (-not (Test-Integer -Value $policy.'version' -First 1 -Last 1)) {
        throw (New-InvalidRequest -Message 'policy.version: this script speaks version 1 only')
    }
    if ($policy.'logon' -isnot [bool]) {
        throw (New-InvalidRequest -Message 'policy.logon: must be true or false')
    }
    if ($policy.'grants' -isnot [System.Collections.IList]) {
        throw (New-InvalidRequest -Message 'policy.grants: must be a list')
    }
    $index = 0
    $grants = New-Object System.Collections.ArrayList
    foreach ($item in $policy.'grants') {
        [void] $grants.Add((ConvertTo-Grant -Grant $item -Place ('policy.grants[{0}]' -f $index)))
        $index += 1
    }
    @{
        Package = ConvertTo-Text -Value $policy.'package' -Place 'policy.package'
        Distribution = ConvertTo-Text -Value $policy.'distribution' -Place 'policy.distribution'
        Logon = $policy.'logon'
        Profiles = ConvertTo-ProfileBits -Names $policy.'profiles' -Place 'policy.profiles'
        Grants = $grants.ToArray()
    }
}

# What host.ps1 and the elevated setup.ps1 must understand alike: a policy, a list
# of files, a Windows user. Both check all of it: the elevated side trusts nobody.
$Contract = 1
$SidPattern = '\AS-1-(?:5-21|12-1)(?:-[0-9]{1,10}){4}\z'
$HashPattern = '\A[0-9a-f]{64}\z'
$PackagePattern = '\A[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}\z'
# WSL itself takes letters, digits, dots, underscores and dashes; the name becomes an
# argument of a task, where a leading dash would be an option.
$DistributionPattern = '\A[A-Za-z0-9_][A-Za-z0-9._-]{0,63}\z'
$InstalledFiles = @('forward.ps1', 'wslmesh-relay.exe')

# The firewall's own bits as names.
function Get-ProfileWords {
    param([int] $Bits)
    $names = @{ 1 = 'domain'; 2 = 'private'; 4 = 'public' }
    foreach ($bit in @(1, 2, 4)) {
        if (($Bits -band $bit) -ne 0) {
            $names[$bit]
        }
    }
}

# A policy as a table of our own making: fields in one order and nothing that was
# not checked, so that two equal policies are equal texts. The same check as that of
# the script which later goes by it, and names that may become arguments.
function ConvertTo-PolicyTable {
    param([string] $Text)
    $policy = ConvertTo-Policy -Text $Text
    Assert-Form -Value $policy.Package -Pattern $PackagePattern -Place 'policy.package'
    Assert-Form -Value $policy.Distribution -Pattern $DistributionPattern -Place 'policy.distribution'
    if ($policy.Grants.Count -gt 200) {
        throw (New-InvalidRequest -Message 'policy.grants: more than 200')
    }
    [ordered] @{
        'version' = 1
        'package' = $policy.Package
        'distribution' = $policy.Distribution
        'logon' = $policy.Logon
        'profiles' = @(Get-ProfileWords -Bits $policy.Profiles)
        'grants' = @(foreach ($grant in $policy.Grants) {
            [ordered] @{
                'protocol' = $grant.Protocol
                'listen-address' = $grant.Address
                'listen-ports' = @($grant.Listen.First, $grant.Listen.Last)
                'connect-ports' = @($grant.Connect.First, $grant.Connect.Last)
                'firewall' = $grant.Firewall
            }
        })
    }
}

# The policy inside a larger text, as text again: it has one check, and that takes text.
function ConvertTo-PolicyText {
    param($Value)
    if ($Value -isnot [System.Management.Automation.PSCustomObject]) {
        throw (New-InvalidRequest -Message 'policy: must be an object')
    }
    ConvertTo-Json -InputObject $Value -Depth 6 -Compress
}

# File name to SHA-256: exactly the files that are expected, each once.
function ConvertTo-Hashes {
    param($Value, [string[]] $Names)
    if ($Value -isnot [System.Collections.IList]) {
        throw (New-InvalidRequest -Message 'files: must be a list')
    }
    $hashes = @{}
    foreach ($file in $Value) {
        Assert-Fields -Object $file -Place 'files' -Names @('name', 'sha256')
        [void] (ConvertTo-Choice -Value $file.'name' -Choices $Names -Place 'files.name')
        Assert-Form -Value $file.'sha256' -Pattern $HashPattern -Place 'files.sha256'
        if ($hashes.ContainsKey($file.'name')) {
            throw (New-InvalidRequest -Message ('files: {0} is there twice' -f $file.'name'))
        }
        $hashes[$file.'name'] = $file.'sha256'
    }
    if ($hashes.Count -ne $Names.Count) {
        throw (New-InvalidRequest -Message ('files: must be exactly {0}' -f ($Names -join ', ')))
    }
    $hashes
}

# What stands in the registry as "installed", and in answers.
function New-Installed {
    param([string] $Package, [hashtable] $Hashes)
    [ordered] @{
        'version' = $Package
        'contract' = $Contract
        'files' = @(foreach ($name in $InstalledFiles) {
            [ordered] @{ 'name' = $name; 'sha256' = $Hashes[$name] }
        })
    }
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

# A forward that the policy does not agree to, as the answer has it.
function New-Refused {
    param([string] $Protocol, [int] $ListenPort, [int] $ConnectPort, [string] $Reason)
    [ordered] @{
        'protocol' = $Protocol
        'listen-port' = $ListenPort
        'connect-port' = $ConnectPort
        'reason' = $Reason
    }
}

# The policy of this user as the registry has it. A policy that cannot be read is no
# fault of the request.
function ConvertTo-AgreedPolicy {
    param([string] $Text)
    try {
        ConvertTo-Policy -Text $Text
    } catch [System.IO.InvalidDataException] {
        throw ('the policy in the registry cannot be read ({0}); run "wslmesh host install" again' -f $_.Exception.Message)
    }
}

# What the registry says about an install, read with the same distrust as a request:
# a value that is no longer what was written counts as absent.
#
# The value "installed" as a table with Version, Contract and Text; $null without one.
function Read-Installed {
    param([hashtable] $Values)
    if (-not $Values.ContainsKey('installed')) {
        return $null
    }
    try {
        $found = ConvertFrom-RequestText -Text $Values['installed'] -Place 'installed'
        @{
            Version = [string] $found.'version'
            Contract = [int] $found.'contract'
            Text = $Values['installed']
        }
    } catch {
        # Contract 0 is nobody's: whoever asks must decide as for another version.
        @{ Version = 'unknown'; Contract = 0; Text = $Values['installed'] }
    }
}

# Windows users with a policy, but for this one: they need the programs. A key without
# a policy is what is left of something and needs nothing.
function Find-OtherUsers {
    param([string] $Sid)
    foreach ($key in @(Get-RegistryKeys -Path 'SOFTWARE\wslmesh')) {
        if (($key -cmatch $SidPattern) -and ($key -cne $Sid) -and
            (Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $key)).ContainsKey('policy')) {
            $key
        }
    }
}

# Words for an install of another contract that other users still need, or $null.
function Get-ContractObstacle {
    param($Installed, [string[]] $Others)
    if (($null -eq $Installed) -or ($Others.Count -eq 0) -or ($Installed.Contract -eq $Contract)) {
        return $null
    }
    'version {0} (contract {1}) is installed for {2} other Windows user(s) of this machine, and this version (contract {3}) cannot share its files; bring the other installs to this version, or remove them, first' -f $Installed.Version, $Installed.Contract, $Others.Count, $Contract
}

function Get-InstalledFolder {
    [System.IO.Path]::Combine([Environment]::GetFolderPath('ProgramFiles'), 'wslmesh')
}

# The path of the relay that administrators alone can replace, or $null.
function Get-InstalledRelay {
    $path = [System.IO.Path]::Combine((Get-InstalledFolder), 'wslmesh-relay.exe')
    if ([System.IO.File]::Exists($path)) {
        return $path
    }
    $null
}

# The text of this user's policy, or '' where nobody agreed to one.
function Get-PolicyText {
    param([string] $Sid)
    $values = Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid)
    if ($values.ContainsKey('policy')) {
        return $values['policy']
    }
    ''
}

# Where things lie. Windows is asked, and not the environment, which any program of
# the user can change for an elevated one too.
function Get-Places {
    $programs = [Environment]::GetFolderPath('ProgramFiles')
    $user = [Environment]::GetFolderPath('LocalApplicationData') + '\wslmesh'
    $windowless = $programs + '\WSL\wslg.exe'
    if (-not [System.IO.File]::Exists($windowless)) {
        $windowless = $null
    }
    @{
        System = [Environment]::SystemDirectory
        Program = $programs + '\wslmesh'
        Windowless = $windowless
        User = $user
        Staging = $user + '\staging'
    }
}
