# What comes in and goes out as JSON, checked field by field: past these functions an
# address is an address and a port is a port.

$OctetPattern = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
$AddressPattern = $OctetPattern + '(?:\.' + $OctetPattern + '){3}'
$EndpointPattern = '\A' + $AddressPattern + '/[1-9][0-9]{0,4}\z'
# netsh stores '*' when a rule was made without a listen address.
$ListenerPattern = '\A(?:\*|' + $AddressPattern + ')/[1-9][0-9]{0,4}\z'

# ASCII alone survives every console code page: the rest becomes \uXXXX.
function ConvertTo-AsciiJson {
    param([System.Collections.IDictionary] $Answer)
    $json = ConvertTo-Json -InputObject $Answer -Depth 6 -Compress
    [regex]::Replace($json, '[^\x20-\x7E]', { param($match) '\u{0:x4}' -f [int] [char] $match.Value })
}

function New-InvalidRequest {
    param([string] $Message)
    New-Object System.IO.InvalidDataException($Message)
}

function Assert-Fields {
    param($Object, [string[]] $Names, [string] $Place)
    if ($Object -isnot [System.Management.Automation.PSCustomObject]) {
        throw (New-InvalidRequest -Message ($Place + ': must be an object'))
    }
    $found = @{}
    foreach ($property in $Object.PSObject.Properties) {
        if ($Names -cnotcontains $property.Name) {
            throw (New-InvalidRequest -Message ('{0}: unknown field "{1}"' -f $Place, $property.Name))
        }
        $found[$property.Name] = $true
    }
    foreach ($name in $Names) {
        if (-not $found.ContainsKey($name)) {
            throw (New-InvalidRequest -Message ('{0}: field "{1}" is missing' -f $Place, $name))
        }
    }
}

# Returns the address as Windows writes it. TryParse alone takes '1', '0x7f.1'
# and octal parts, hence the pattern before it.
function ConvertTo-Address {
    param($Value, [string] $Place)
    $parsed = $null
    if (($Value -isnot [string]) -or ($Value -cnotmatch ('\A' + $AddressPattern + '\z')) -or
        (-not [System.Net.IPAddress]::TryParse($Value, [ref] $parsed))) {
        throw (New-InvalidRequest -Message ($Place + ': must be an IPv4 address'))
    }
    if ($parsed.GetAddressBytes()[0] -ge 224) {
        throw (New-InvalidRequest -Message ($Place + ': must not be a multicast, reserved or broadcast address'))
    }
    $parsed.ToString()
}

# JSON integers arrive as int, and as long where they are larger or PowerShell is newer
# than 5.1; 22.0 as decimal.
function Test-Integer {
    param($Value, [int] $First, [int] $Last)
    (($Value -is [int]) -or ($Value -is [long])) -and ($Value -ge $First) -and ($Value -le $Last)
}

function ConvertTo-Port {
    param($Value, [string] $Place)
    if (-not (Test-Integer -Value $Value -First 1 -Last 65535)) {
        throw (New-InvalidRequest -Message ($Place + ': must be an integer from 1 to 65535'))
    }
    [int] $Value
}

# One of these texts, in this case and no other.
function ConvertTo-Choice {
    param($Value, [string[]] $Choices, [string] $Place)
    if (($Value -isnot [string]) -or ($Choices -cnotcontains $Value)) {
        throw (New-InvalidRequest -Message ('{0}: must be one of {1}' -f $Place, ($Choices -join ', ')))
    }
    $Value
}

# Text of at most 256 characters, at least one, none of them a control character.
function ConvertTo-Text {
    param($Value, [string] $Place)
    if (($Value -isnot [string]) -or ($Value -cnotmatch '\A[^\x00-\x1F\x7F]{1,256}\z')) {
        throw (New-InvalidRequest -Message ($Place + ': must be a text of 1 to 256 characters without control characters'))
    }
    $Value
}

# A rule towards loopback would open Windows' own local services to the network.
function ConvertTo-GuestAddress {
    param($Value, [string] $Place)
    $address = ConvertTo-Address -Value $Value -Place $Place
    $first = [System.Net.IPAddress]::Parse($address).GetAddressBytes()[0]
    if (($first -eq 0) -or ($first -eq 127)) {
        throw (New-InvalidRequest -Message ($Place + ': must be the address of another machine'))
    }
    $address
}

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
