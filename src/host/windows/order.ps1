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

function ConvertFrom-RequestText {
    param([string] $Text, [string] $Place)
    try {
        ConvertFrom-Json -InputObject $Text
    } catch {
        throw (New-InvalidRequest -Message ('{0}: not JSON: {1}' -f $Place, $_.Exception.Message))
    }
}

function Assert-Form {
    param($Value, [string] $Pattern, [string] $Place)
    if (($Value -isnot [string]) -or ($Value -cnotmatch $Pattern)) {
        throw (New-InvalidRequest -Message ($Place + ': not of the form that is allowed here'))
    }
}

function Assert-Version {
    param($Value, [string] $Place)
    if (($Value -isnot [int]) -or ($Value -ne 1)) {
        throw (New-InvalidRequest -Message ($Place + ': this script speaks version 1 only'))
    }
}

function Assert-Switch {
    param($Value, [string] $Place)
    if ($Value -isnot [bool]) {
        throw (New-InvalidRequest -Message ($Place + ': must be true or false'))
    }
}

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
