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
