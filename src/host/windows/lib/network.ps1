# Where the guest is, Windows' own network, and ports that another program has.

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

# One value of a user's hive, which is there while the user is logged on. Only this
# value is read: the user could have put any number of others beside it.
function Get-UserGuestAddress {
    param([string] $Sid)
    $users = [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]::Users, [Microsoft.Win32.RegistryView]::Registry64)
    try {
        $key = $users.OpenSubKey($Sid + '\Software\Microsoft\Windows\CurrentVersion\Lxss')
        if ($null -eq $key) {
            return ''
        }
        try {
            [string] $key.GetValue('NatIpAddress', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
        } finally {
            $key.Dispose()
        }
    } finally {
        $users.Dispose()
    }
}

# Network and gateway, as WSL's service wrote them.
function Get-GuestNetwork {
    $network = @{ 'NatNetwork' = ''; 'NatGatewayIpAddress' = '' }
    $values = Get-RegistryValues -Path 'SOFTWARE\Microsoft\Windows\CurrentVersion\Lxss'
    foreach ($name in @('NatNetwork', 'NatGatewayIpAddress')) {
        if ($values.ContainsKey($name)) {
            $network[$name] = $values[$name]
        }
    }
    $network
}

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

# The number of the error that a listener of ours would get, 0 for none.
function Get-BindError {
    param([string] $Address, [int] $Port)
    $socket = New-Object System.Net.Sockets.Socket([System.Net.Sockets.AddressFamily]::InterNetwork,
        [System.Net.Sockets.SocketType]::Stream, [System.Net.Sockets.ProtocolType]::Tcp)
    try {
        $socket.ExclusiveAddressUse = $false
        $endpoint = New-Object System.Net.IPEndPoint([System.Net.IPAddress]::Parse($Address), $Port)
        $socket.Bind($endpoint)
        0
    } catch {
        $cause = $_.Exception.GetBaseException()
        if ($cause -isnot [System.Net.Sockets.SocketException]) {
            throw
        }
        [int] $cause.ErrorCode
    } finally {
        $socket.Dispose()
    }
}

# Listeners by TCP with their programs. Slow, because it asks WMI: none where that takes
# longer than 2 s, because the answer and the lock of the caller wait for it.
function Get-PortOwners {
    $names = @{}
    foreach ($process in Get-Process) {
        $names[[int] $process.Id] = [string] $process.ProcessName
    }
    $listeners = Invoke-Limited -Name 'Get-NetTCPConnection' -Parameters @{ State = 'Listen'; ErrorAction = 'SilentlyContinue' } -Seconds 2
    foreach ($connection in $listeners.Items) {
        $id = [int] $connection.OwningProcess
        if ($names.ContainsKey($id)) {
            @{ Address = [string] $connection.LocalAddress; Port = [int] $connection.LocalPort; Name = $names[$id]; Id = $id }
        }
    }
}

# Addresses that are listened on by TCP, by their port as text. Asked of the table in
# the kernel and not of WMI.
function Get-ListeningAddresses {
    $found = @{}
    $properties = [System.Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties()
    foreach ($endpoint in $properties.GetActiveTcpListeners()) {
        $port = [string] $endpoint.Port
        if (-not $found.ContainsKey($port)) {
            $found[$port] = New-Object System.Collections.ArrayList
        }
        [void] $found[$port].Add([string] $endpoint.Address)
    }
    $found
}
