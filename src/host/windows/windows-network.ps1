# Network interfaces.

# .NET and not the cmdlets of the Net family: those ask WMI, which is slow to load
# and hangs where it is broken. Approximate: .NET has one MTU for an adapter, which
# need not be IPv4's where the two families differ.
function Get-IPv4Interfaces {
    foreach ($interface in [System.Net.NetworkInformation.NetworkInterface]::GetAllNetworkInterfaces()) {
        try {
            Read-Interface -Interface $interface
        } catch {
            # It has no IPv4 (a NetworkInformationException says so), or is gone by now.
            continue
        }
    }
}

# Written as one table at the end, so an interface that fails half-way leaves nothing.
function Read-Interface {
    param($Interface)
    $ip = $Interface.GetIPProperties()
    $ipv4 = $ip.GetIPv4Properties()
    $gateways = @(foreach ($gateway in $ip.GatewayAddresses) {
        if (([string] $gateway.Address.AddressFamily) -ceq 'InterNetwork') {
            [string] $gateway.Address
        }
    })
    # An address that is not yet (or no longer) to be used would mislead.
    $addresses = @(foreach ($unicast in $ip.UnicastAddresses) {
        if ((([string] $unicast.Address.AddressFamily) -ceq 'InterNetwork') -and
            (([string] $unicast.DuplicateAddressDetectionState) -ceq 'Preferred')) {
            [string] $unicast.Address
        }
    })
    @{
        Index = [long] $ipv4.Index
        Name = [string] $Interface.Name
        Up = ([string] $Interface.OperationalStatus) -ceq 'Up'
        Loopback = ([string] $Interface.NetworkInterfaceType) -ceq 'Loopback'
        Mtu = [long] $ipv4.Mtu
        Gateway = $gateways.Count -gt 0
        Addresses = $addresses
    }
}
