# Where the guest is, as WSL has it on record. The guest's address lies in a key that
# its user can write, so it counts only inside the network that WSL's service made,
# whose keys administrators alone can write: a forward must never lead to Windows
# itself or to another machine.

function ConvertTo-Number {
    param([string] $Address)
    $bytes = [System.Net.IPAddress]::Parse($Address).GetAddressBytes()
    ([long] $bytes[0] * 16777216) + ([long] $bytes[1] * 65536) + ([long] $bytes[2] * 256) + [long] $bytes[3]
}

function New-GuestProblem {
    param([string] $Problem)
    @{ Address = $null; Problem = $Problem }
}

# The address, or what keeps it from being known; no text of the registry is quoted.
function Select-Guest {
    param([string] $Address, [string] $Network, [string] $Gateway)
    $parts = [regex]::Match($Network, '\A(?<base>' + $AddressPattern + ')/(?<length>[1-9][0-9]?)\z')
    if (-not $parts.Success) {
        return New-GuestProblem -Problem 'WSL''s NatNetwork is missing or no IPv4 network'
    }
    $base = ConvertTo-Number -Address $parts.Groups['base'].Value
    $length = [int] $parts.Groups['length'].Value
    if (($length -lt 8) -or ($length -gt 30)) {
        return New-GuestProblem -Problem 'WSL''s NatNetwork is of no size for a network'
    }
    if ($Gateway -cnotmatch ('\A' + $AddressPattern + '\z')) {
        return New-GuestProblem -Problem 'WSL''s NatGatewayIpAddress is missing or no IPv4 address'
    }
    try {
        $guest = ConvertTo-GuestAddress -Value $Address -Place 'NatIpAddress'
    } catch [System.IO.InvalidDataException] {
        return New-GuestProblem -Problem 'WSL''s NatIpAddress is missing or no IPv4 address of a machine'
    }
    $size = ([long] 1) -shl (32 - $length)
    $first = $base - ($base % $size)
    $number = ConvertTo-Number -Address $guest
    if (($number -lt $first) -or ($number -ge ($first + $size))) {
        return New-GuestProblem -Problem 'WSL''s NatIpAddress lies outside its NatNetwork'
    }
    if (($number -eq $first) -or ($number -eq ($first + $size - 1))) {
        return New-GuestProblem -Problem 'WSL''s NatIpAddress is the address of the network itself or its broadcast address'
    }
    if ($number -eq (ConvertTo-Number -Address $Gateway)) {
        return New-GuestProblem -Problem 'WSL''s NatIpAddress is the gateway, which is Windows itself'
    }
    @{ Address = $guest; Problem = $null }
}
