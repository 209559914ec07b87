# Facts about Windows' own network.

# Interfaces that the facts may be about. The MTU of WSL's own switch is the result
# of the others' and not its cause, and its address leads to WSL alone.
function Select-Connected {
    param([object[]] $Interfaces)
    foreach ($interface in $Interfaces) {
        if ($interface.Up -and (-not $interface.Loopback) -and
            (-not $interface.Name.StartsWith('vEthernet (WSL', [System.StringComparison]::OrdinalIgnoreCase))) {
            $interface
        }
    }
}

# The address on Windows' default route, or $null. Approximate where several
# interfaces have a gateway: Windows prefers the lowest metric, which .NET does not
# tell, so the lowest IPv4 interface index is taken.
function Select-DefaultAddress {
    param([object[]] $Interfaces)
    $best = $null
    foreach ($interface in $Interfaces) {
        if ($interface.Gateway -and ($interface.Addresses.Count -gt 0) -and
            (($null -eq $best) -or ($interface.Index -lt $best.Index))) {
            $best = $interface
        }
    }
    if ($null -eq $best) {
        return $null
    }
    $best.Addresses[0]
}

# WSL copies the lowest MTU of the connected interfaces to the guest's eth0. An MTU
# that is not positive is none: .NET makes -1 of "no limit".
function Select-LowestMtu {
    param([object[]] $Interfaces)
    $lowest = $null
    foreach ($interface in $Interfaces) {
        if (($interface.Mtu -gt 0) -and (($null -eq $lowest) -or ($interface.Mtu -lt $lowest['mtu']))) {
            $lowest = [ordered] @{ 'name' = $interface.Name; 'mtu' = $interface.Mtu }
        }
    }
    $lowest
}
