# What comes in and goes out as JSON, checked field by field: past these functions an
# address is an address and a port is a port.

$OctetPattern = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
$AddressPattern = $OctetPattern + '(?:\.' + $OctetPattern + '){3}'
# An address of IPv6 as .NET writes it: eight groups, or up to seven and two colons at one place.
$GroupPattern = '[0-9a-f]{1,4}'
$GroupsPattern = '(?:' + $GroupPattern + '(?::' + $GroupPattern + ')*)?'
$LongPattern = '(?:' + $GroupPattern + ':){7}' + $GroupPattern
$ShortPattern = '(?!:*(?:' + $GroupPattern + '(?::+|\z)){8})' + $GroupsPattern + '::' + $GroupsPattern
# No multicast, reserved or broadcast address, no IPv4 in the form of IPv6, and none that needs an interface beside it.
$ListenPattern = '\A(?:(?!(?:22[4-9]|2[3-5][0-9])\.)' + $AddressPattern +
    '|(?!ff[0-9a-f]{2}:|fe[89ab][0-9a-f]:|::ffff:' + $GroupPattern + ':' + $GroupPattern + '\z)(?:' + $LongPattern + '|' + $ShortPattern + '))\z'
# The address of another machine: a rule towards loopback would open Windows' own local services to the network.
$GuestPattern = '\A(?!(?:0|127|22[4-9]|2[3-5][0-9])\.)' + $AddressPattern + '\z'
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

# A value must be of a type, a text of a pattern, one of some texts, an integer between two, or a list of such values;
# $null takes anything. Integers of JSON are int, and long where they are large or PowerShell is new; 22.0 is decimal.
function Assert-Value {
    param($Value, $Kind, [string] $Place)
    if ($null -eq $Kind) { return }
    $words = 'not of the form that is allowed here'
    if ($Kind -is [type]) {
        $right = $Value -is $Kind
    } elseif ($Kind -is [string]) {
        $right = ($Value -is [string]) -and ($Value -cmatch $Kind)
    } elseif ($Kind -is [hashtable]) {
        $right = ($Value -is [System.Collections.IList]) -and ($Value.Count -ge $Kind.Least) -and ($Value.Count -le $Kind.Most)
        $words = 'must be a list of {0} to {1}' -f $Kind.Least, $Kind.Most
    } elseif ($Kind[0] -is [string]) {
        $right = ($Value -is [string]) -and ($Kind -ccontains $Value)
        $words = 'must be one of ' + ($Kind -join ', ')
    } else {
        $right = (($Value -is [int]) -or ($Value -is [long])) -and ($Value -ge $Kind[0]) -and ($Value -le $Kind[1])
        $words = 'must be an integer from {0} to {1}' -f $Kind
    }
    if (-not $right) { Assert-Valid -Value $false -Message ('{0}: {1}' -f $Place, $words) }
    if ($Kind -is [hashtable]) {
        foreach ($item in $Value) { Assert-Value -Value $item -Kind $Kind.Of -Place $Place }
    }
}

function Assert-Fields {
    param($Object, [string] $Place, [hashtable] $Fields)
    Assert-Value -Value $Object -Kind ([System.Management.Automation.PSCustomObject]) -Place $Place
    $found = @(foreach ($property in $Object.PSObject.Properties) { $property.Name })
    $names = @($Fields.Keys)
    # No call for a name that is right: there are thousands in a large request.
    foreach ($name in $found) {
        if ($names -cnotcontains $name) { Assert-Valid -Value $false -Message ('{0}: unknown field "{1}"' -f $Place, $name) }
    }
    foreach ($name in $names) {
        if ($found -cnotcontains $name) { Assert-Valid -Value $false -Message ('{0}: field "{1}" is missing' -f $Place, $name) }
        Assert-Value -Value $Object.PSObject.Properties[$name].Value -Kind $Fields[$name] -Place ($Place + '.' + $name)
    }
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
    Assert-Value -Value $value -Kind ([System.Management.Automation.PSCustomObject]) -Place $Place
    $value
}
