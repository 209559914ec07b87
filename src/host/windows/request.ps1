# What comes in as JSON, checked field by field: past these functions an address
# is an address and a port is a port.

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

# JSON integers arrive as int (or long, always out of range here); 22.0 as decimal.
function ConvertTo-Port {
    param($Value, [string] $Place)
    if (($Value -isnot [int]) -or ($Value -lt 1) -or ($Value -gt 65535)) {
        throw (New-InvalidRequest -Message ($Place + ': must be an integer from 1 to 65535'))
    }
    $Value
}

# Request text -> listener to target, in the order of the request. A listener and
# a target are both written 'address/port', as the registry has them.
function ConvertTo-Wanted {
    param([string] $Text)
    try {
        $request = ConvertFrom-Json -InputObject $Text
    } catch {
        throw (New-InvalidRequest -Message ('request: not JSON: ' + $_.Exception.Message))
    }
    Assert-Fields -Object $request -Place 'request' -Names @('version', 'action', 'connect-address', 'forwards')
    if (($request.'version' -isnot [int]) -or ($request.'version' -ne 1)) {
        throw (New-InvalidRequest -Message 'version: this script speaks version 1 only')
    }
    if (($request.'action' -isnot [string]) -or ($request.'action' -cne 'sync')) {
        throw (New-InvalidRequest -Message 'action: must be "sync"')
    }
    $guest = ConvertTo-GuestAddress -Value $request.'connect-address' -Place 'connect-address'
    if ($request.'forwards' -isnot [System.Collections.IList]) {
        throw (New-InvalidRequest -Message 'forwards: must be a list')
    }
    $wanted = [ordered] @{}
    $index = 0
    foreach ($forward in $request.'forwards') {
        $place = 'forwards[{0}]' -f $index
        Assert-Fields -Object $forward -Place $place -Names @('listen-address', 'listen-port', 'connect-port')
        $address = ConvertTo-Address -Value $forward.'listen-address' -Place ($place + '.listen-address')
        $port = ConvertTo-Port -Value $forward.'listen-port' -Place ($place + '.listen-port')
        $listener = '{0}/{1}' -f $address, $port
        if ($wanted.Contains($listener)) {
            throw (New-InvalidRequest -Message ('{0}: {1} is asked for twice' -f $place, $listener))
        }
        $guestPort = ConvertTo-Port -Value $forward.'connect-port' -Place ($place + '.connect-port')
        $wanted[$listener] = '{0}/{1}' -f $guest, $guestPort
        $index += 1
    }
    $wanted
}
