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

# The kind of exception says that what came in is at fault.
function Assert-Valid {
    param([bool] $Value, [string] $Message)
    if (-not $Value) { throw (New-Object System.IO.InvalidDataException($Message)) }
}

function ConvertFrom-RequestText {
    param([string] $Text, [string] $Place)
    try {
        $value = ConvertFrom-Json -InputObject $Text
    } catch {
        # The message of 5.1 is in the language of Windows and repeats the whole text.
        Assert-Valid -Value $false -Message ($Place + ': not JSON')
    }
    # A list of one would leave this function as its one item.
    Assert-Valid -Value ($value -isnot [System.Collections.IList]) -Message ($Place + ': must be an object')
    $value
}

function Assert-Fields {
    param($Object, [string[]] $Names, [string] $Place)
    Assert-Valid -Value ($Object -is [System.Management.Automation.PSCustomObject]) -Message ($Place + ': must be an object')
    $found = @(foreach ($property in $Object.PSObject.Properties) { $property.Name })
    # No call for a field that is right: there are thousands in a large request.
    foreach ($name in $found) {
        if ($Names -cnotcontains $name) { Assert-Valid -Value $false -Message ('{0}: unknown field "{1}"' -f $Place, $name) }
    }
    foreach ($name in $Names) {
        if ($found -cnotcontains $name) { Assert-Valid -Value $false -Message ('{0}: field "{1}" is missing' -f $Place, $name) }
    }
}

# JSON integers arrive as int, and as long where they are larger or PowerShell is newer
# than 5.1; 22.0 as decimal.
function Test-Integer {
    param($Value, [long] $First, [long] $Last)
    (($Value -is [int]) -or ($Value -is [long])) -and ($Value -ge $First) -and ($Value -le $Last)
}

function Assert-Version {
    param($Value, [string] $Place)
    Assert-Valid -Value (Test-Integer -Value $Value -First 1 -Last 1) -Message ($Place + ': this script speaks version 1 only')
}

function Assert-Switch {
    param($Value, [string] $Place)
    Assert-Valid -Value ($Value -is [bool]) -Message ($Place + ': must be true or false')
}

function Assert-Form {
    param($Value, [string] $Pattern, [string] $Place)
    Assert-Valid -Value (($Value -is [string]) -and ($Value -cmatch $Pattern)) -Message ($Place + ': not of the form that is allowed here')
}

# At most so many items; any number where Most is 0.
function Assert-List {
    param($Value, [int] $Most, [string] $Place)
    Assert-Valid -Value ($Value -is [System.Collections.IList]) -Message ($Place + ': must be a list')
    Assert-Valid -Value (($Most -eq 0) -or ($Value.Count -le $Most)) -Message ('{0}: more than {1}' -f $Place, $Most)
}

# Returns the address as Windows writes it. TryParse alone takes '1', '0x7f.1'
# and octal parts, hence the pattern before it.
function ConvertTo-Address {
    param($Value, [string] $Place)
    $parsed = $null
    $valid = ($Value -is [string]) -and ($Value -cmatch ('\A' + $AddressPattern + '\z')) -and [System.Net.IPAddress]::TryParse($Value, [ref] $parsed)
    Assert-Valid -Value $valid -Message ($Place + ': must be an IPv4 address')
    Assert-Valid -Value ($parsed.GetAddressBytes()[0] -lt 224) -Message ($Place + ': must not be a multicast, reserved or broadcast address')
    $parsed.ToString()
}

# A rule towards loopback would open Windows' own local services to the network.
function ConvertTo-GuestAddress {
    param($Value, [string] $Place)
    $address = ConvertTo-Address -Value $Value -Place $Place
    $first = [System.Net.IPAddress]::Parse($address).GetAddressBytes()[0]
    Assert-Valid -Value (($first -ne 0) -and ($first -ne 127)) -Message ($Place + ': must be the address of another machine')
    $address
}

function ConvertTo-Port {
    param($Value, [string] $Place)
    if (-not (Test-Integer -Value $Value -First 1 -Last 65535)) { Assert-Valid -Value $false -Message ($Place + ': must be an integer from 1 to 65535') }
    [int] $Value
}

# One of these texts, in this case and no other.
function ConvertTo-Choice {
    param($Value, [string[]] $Choices, [string] $Place)
    if (($Value -isnot [string]) -or ($Choices -cnotcontains $Value)) { Assert-Valid -Value $false -Message ('{0}: must be one of {1}' -f $Place, ($Choices -join ', ')) }
    $Value
}

# Text of at most 256 characters, at least one, none of them a control character.
function ConvertTo-Text {
    param($Value, [string] $Place)
    Assert-Valid -Value (($Value -is [string]) -and ($Value -cmatch '\A[^\x00-\x1F\x7F]{1,256}\z')) -Message ($Place + ': must be a text of 1 to 256 characters without control characters')
    $Value
}
