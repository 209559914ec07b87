# The policy: what an administrator agreed to for one Windows user.

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
