# Where the guest is, Windows' own network, and what Windows says of its ports.
#
# Where the guest is, as WSL has it on record. The guest's address lies in a key that its user can write, so
# it counts only inside the network that WSL's service made, whose keys administrators alone can write: a
# forward must never lead to Windows itself or to another machine.
function ConvertTo-Number {
    param([string] $Address)
    $bytes = [System.Net.IPAddress]::Parse($Address).GetAddressBytes()
    ([long] $bytes[0] * 16777216) + ([long] $bytes[1] * 65536) + ([long] $bytes[2] * 256) + [long] $bytes[3]
}

# What keeps the guest's address from being known, or ''; no text of the registry is quoted.
function Find-GuestProblem {
    param([string] $Address, [string] $Network, [string] $Gateway)
    $parts = [regex]::Match($Network, '\A(?<base>' + $AddressPattern + ')/(?<length>[1-9][0-9]?)\z')
    if (-not $parts.Success) { return 'NatNetwork is missing or no IPv4 network' }
    $length = [int] $parts.Groups['length'].Value
    if (($length -lt 8) -or ($length -gt 30)) { return 'NatNetwork is of no size for a network' }
    if ($Gateway -cnotmatch ('\A' + $AddressPattern + '\z')) { return 'NatGatewayIpAddress is missing or no IPv4 address' }
    if ($Address -cnotmatch $GuestPattern) { return 'NatIpAddress is missing or no IPv4 address of a machine' }
    $number = ConvertTo-Number -Address $Address
    $base = ConvertTo-Number -Address $parts.Groups['base'].Value
    $size = ([long] 1) -shl (32 - $length)
    $first = $base - ($base % $size)
    if (($number -lt $first) -or ($number -ge ($first + $size))) { return 'NatIpAddress lies outside NatNetwork' }
    if (($number -eq $first) -or ($number -eq ($first + $size - 1))) {
        return 'NatIpAddress is the address of the network itself or its broadcast address'
    }
    if ($number -eq (ConvertTo-Number -Address $Gateway)) { return 'NatIpAddress is the gateway, which is Windows itself' }
    ''
}

function Get-GuestNetwork {
    $values = Get-WinRegistryValues -Path 'SOFTWARE\Microsoft\Windows\CurrentVersion\Lxss'
    @{ 'NatNetwork' = [string] $values['NatNetwork']; 'NatGatewayIpAddress' = [string] $values['NatGatewayIpAddress'] }
}

function Find-Guest {
    param([string] $Sid)
    $network = Get-GuestNetwork
    $address = Get-WinUserValue -Sid $Sid -Path 'Software\Microsoft\Windows\CurrentVersion\Lxss' -Name 'NatIpAddress'
    $problem = Find-GuestProblem -Address $address -Network $network['NatNetwork'] -Gateway $network['NatGatewayIpAddress']
    if ($problem -cne '') {
        return @{ Address = $null; Problem = 'Windows has no valid address for WSL (' + $problem + '); run "wsl --shutdown", then start WSL again' }
    }
    @{ Address = $address; Problem = $null }
}

# What netsh prints for a file of lines.
function Invoke-Netsh {
    param([string] $Path)
    $run = Invoke-WinProgram -Path ((Get-KnownFolder -Name 'System') + '\netsh.exe') -Arguments ('-f "' + $Path + '"') -Seconds 50
    if (@(2, 3) -ccontains $run.Error) { throw 'Windows'' own netsh.exe is missing; repair Windows ("sfc /scannow" as an administrator)' }
    if ($null -ne $run.Error) { throw ('netsh did not do its work ({0}); try again, or restart Windows' -f $run.Error) }
    $run.Text
}

# What netsh shows of a protocol's ports ('excludedportrange', 'dynamicport'). Its words are localised, its numbers
# are not.
function Get-WinPortText {
    param([string] $What, [string] $Protocol, [int] $Seconds)
    $run = Invoke-WinProgram -Path ((Get-KnownFolder -Name 'System') + '\netsh.exe') -Arguments ('interface ipv4 show {0} {1}' -f $What, $Protocol) -Seconds $Seconds
    if ($null -ne $run.Error) { throw ('netsh did not show its ports ({0}); try again' -f $run.Error) }
    $run.Text
}

# .NET and not the cmdlets of the Net family: those ask WMI, which is slow to load
# and hangs where it is broken. Approximate: .NET has one MTU for an adapter, which
# need not be IPv4's where the two families differ.
function Get-WinInterfaces {
    foreach ($interface in [System.Net.NetworkInformation.NetworkInterface]::GetAllNetworkInterfaces()) {
        try {
            $ip = $interface.GetIPProperties()
            $ipv4 = $ip.GetIPv4Properties()
            $gateways = @($ip.GatewayAddresses | Where-Object { ([string] $_.Address.AddressFamily) -ceq 'InterNetwork' })
            # An address that is not yet (or no longer) to be used would mislead.
            $usable = @($ip.UnicastAddresses | Where-Object {
                ([string] $_.Address.AddressFamily -ceq 'InterNetwork') -and ([string] $_.DuplicateAddressDetectionState -ceq 'Preferred')
            })
            $usable6 = @($ip.UnicastAddresses | Where-Object {
                ([string] $_.Address.AddressFamily -ceq 'InterNetworkV6') -and ([string] $_.DuplicateAddressDetectionState -ceq 'Preferred')
            })
            # Written as one table at the end, so an interface that fails half-way leaves nothing.
            @{
                Index = [long] $ipv4.Index; Name = [string] $interface.Name
                Up = ([string] $interface.OperationalStatus) -ceq 'Up'
                Loopback = ([string] $interface.NetworkInterfaceType) -ceq 'Loopback'
                Mtu = [long] $ipv4.Mtu; Gateway = $gateways.Count -gt 0; Addresses = @($usable | ForEach-Object { [string] $_.Address })
                Prefixes = @($usable | ForEach-Object { [int] $_.PrefixLength })
                Addresses6 = @($usable6 | ForEach-Object { [string] $_.Address } | Where-Object { $_ -notlike 'fe80:*' })
            }
        } catch {
            # It has no IPv4 (a NetworkInformationException says so), or is gone by now.
        }
    }
}

# The facts are extras: one that is unknown is $null. The MTU of WSL's own switch is the result of the others' and not
# its cause, and its address leads to WSL alone.
function Get-NetworkFacts {
    $facts = @{ Address = $null; Address6 = $null; Mtu = $null }
    try {
        $interfaces = @(Get-WinInterfaces | Where-Object { $_.Up -and (-not $_.Loopback) -and ($_.Name -notlike 'vEthernet (WSL*') })
        # WSL copies the lowest MTU of these to the guest's eth0. One that is not positive is none: .NET makes -1 of "no limit".
        $limited = @($interfaces | Where-Object { $_.Mtu -gt 0 } | Sort-Object -Property { $_.Mtu }, { $_.Index })
        if ($limited.Count -gt 0) { $facts.Mtu = [ordered] @{ 'name' = $limited[0].Name; 'mtu' = $limited[0].Mtu } }
        # The address on Windows' default route; approximate where several interfaces have a gateway: Windows prefers the
        # lowest metric, which .NET does not tell, so the lowest IPv4 interface index is taken.
        $routed = @($interfaces | Where-Object { $_.Gateway -and ($_.Addresses.Count -gt 0) } | Sort-Object -Property { $_.Index })
        if ($routed.Count -gt 0) { $facts.Address = $routed[0].Addresses[0] }
        if (($routed.Count -gt 0) -and ($routed[0].Addresses6.Count -gt 0)) { $facts.Address6 = $routed[0].Addresses6[0] }
    } catch {
        # What has been found out until here stays.
    }
    $facts
}

# First and last of the ports that Windows hands out by itself: the text's two numbers are the first and how many.
function ConvertTo-DynamicRange {
    param([string] $Text)
    $numbers = @([regex]::Matches($Text, '(?m)[\s:](?<number>[0-9]{1,5})\s*$') | ForEach-Object { [int] $_.Groups['number'].Value })
    if (($numbers.Count -ne 2) -or ($numbers[0] -eq 0) -or ($numbers[1] -eq 0) -or (($numbers[0] + $numbers[1]) -gt 65536)) {
        throw 'netsh does not show the dynamic range of ports in a form that is known'
    }
    @($numbers[0], ($numbers[0] + $numbers[1] - 1))
}

# The ports that Windows hands out by itself, by protocol. An extra, like the facts above: $null where netsh does not
# show them within 2 s.
function Get-DynamicRanges {
    $ranges = [ordered] @{}
    foreach ($protocol in @('tcp', 'udp')) {
        $ranges[$protocol] = $null
        try {
            $ranges[$protocol] = ConvertTo-DynamicRange -Text (Get-WinPortText -What 'dynamicport' -Protocol $protocol -Seconds 2)
        } catch {
            # It stays unknown.
        }
    }
    $ranges
}

# Addresses of IPv6 and the lengths of their prefixes, of interfaces that are connected.
function Get-WinIPv6Addresses {
    foreach ($interface in [System.Net.NetworkInformation.NetworkInterface]::GetAllNetworkInterfaces()) {
        if ((([string] $interface.OperationalStatus) -cne 'Up') -or (([string] $interface.NetworkInterfaceType) -ceq 'Loopback')) { continue }
        try {
            foreach ($unicast in @($interface.GetIPProperties().UnicastAddresses | Where-Object { ([string] $_.Address.AddressFamily) -ceq 'InterNetworkV6' })) {
                @{ Bytes = $unicast.Address.GetAddressBytes(); Length = [int] $unicast.PrefixLength }
            }
        } catch {
            # It is gone by now.
        }
    }
}

# '2001:db8:1::/64': the bits behind the prefix are 0, and no interface (%7) is named.
function ConvertTo-IPv6Subnet {
    param([byte[]] $Bytes, [int] $Length)
    $left = $Length
    $subnet = @(foreach ($byte in $Bytes) {
        $bits = $left
        if ($bits -gt 8) { $bits = 8 }
        if ($bits -lt 0) { $bits = 0 }
        $left -= 8
        $byte -band (256 - (1 -shl (8 - $bits)))
    })
    $text = '{0:x2}{1:x2}:{2:x2}{3:x2}:{4:x2}{5:x2}:{6:x2}{7:x2}:{8:x2}{9:x2}:{10:x2}{11:x2}:{12:x2}{13:x2}:{14:x2}{15:x2}' -f $subnet
    '{0}/{1}' -f [string] [System.Net.IPAddress]::Parse($text), $Length
}

# The subnets that Windows is in now, of both families, in their order: '192.168.1.0/24,...'; loopback where it is in
# none, which lets no other machine in. A prefix of the whole address, as DHCPv6 gives it, has no other machine.
function Get-LocalSubnets {
    $subnets = @(foreach ($address in @(Get-WinIPv6Addresses | Where-Object { ($_.Length -gt 0) -and ($_.Length -lt 128) })) {
        ConvertTo-IPv6Subnet -Bytes $address.Bytes -Length $address.Length
    })
    $subnets += @(foreach ($interface in @(Get-WinInterfaces | Where-Object { $_.Up -and (-not $_.Loopback) })) {
        for ($place = 0; $place -lt $interface.Addresses.Count; $place += 1) {
            $length = $interface.Prefixes[$place]
            $number = ConvertTo-Number -Address $interface.Addresses[$place]
            $number -= $number % (([long] 1) -shl (32 - $length))
            '{0}.{1}.{2}.{3}/{4}' -f (($number -shr 24) -band 255), (($number -shr 16) -band 255), (($number -shr 8) -band 255), ($number -band 255), $length
        }
    })
    if ($subnets.Count -eq 0) { return '127.0.0.1' }
    @($subnets | Sort-Object -Unique) -join ','
}

# Windows 10 has no firewall for guests: its cmdlets are missing there.
function Test-WinGuestFirewall {
    $null -ne (Get-Command -Name 'New-NetFirewallHyperVRule' -ErrorAction 'SilentlyContinue')
}

# The name of the enumeration's member is never localised.
function Test-WinService {
    param([string] $Name)
    ([string] (Get-Service -Name $Name).Status) -ceq 'Running'
}

# Windows' number of a socket's failure, on other systems too; another failure is thrown on.
function Get-WinSocketError {
    param($Failure)
    $cause = $Failure.Exception.GetBaseException()
    if ($cause -isnot [System.Net.Sockets.SocketException]) { throw $Failure }
    [int] $cause.SocketErrorCode
}

# The number of the error that a listener of ours would get, 0 for none.
function Get-WinBindError {
    param([string] $Address, [int] $Port)
    $socket = New-Object System.Net.Sockets.Socket([System.Net.Sockets.AddressFamily]::InterNetwork,
        [System.Net.Sockets.SocketType]::Stream, [System.Net.Sockets.ProtocolType]::Tcp)
    try {
        $socket.ExclusiveAddressUse = $false
        $endpoint = New-Object System.Net.IPEndPoint([System.Net.IPAddress]::Parse($Address), $Port)
        $socket.Bind($endpoint)
        0
    } catch {
        Get-WinSocketError -Failure $_
    } finally {
        $socket.Dispose()
    }
}

# Addresses that are listened on by 'tcp' or 'udp', by their port as text. Asked of the table in
# the kernel and not of WMI.
function Get-WinListeners {
    param([string] $Protocol)
    $found = @{}
    $properties = [System.Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties()
    $endpoints = $properties.GetActiveTcpListeners()
    if ($Protocol -ceq 'udp') { $endpoints = $properties.GetActiveUdpListeners() }
    foreach ($endpoint in $endpoints) {
        $found[[string] $endpoint.Port] += @([string] $endpoint.Address)
    }
    $found
}

# Listeners by TCP, or UDP sockets, in the text of netstat.exe -ano: the columns are protocol, own address, the other's,
# state (UDP has none) and process. The state is localised; the other's address of a listener is not.
function ConvertFrom-Netstat {
    param([string] $Text, [string] $Protocol)
    $line = '(?m)^\s*' + $Protocol.ToUpperInvariant() + '\s+(?<address>' + $AddressPattern + '|\[[0-9a-f:.%]+\]):(?<port>[0-9]{1,5})\s+(?:0\.0\.0\.0:0|\[::\]:0|\*:\*)\s(?:.*?\s)?(?<id>[0-9]{1,9})\s*$'
    foreach ($found in [regex]::Matches($Text, $line)) {
        @{ Address = $found.Groups['address'].Value.Trim('[', ']'); Port = [int] $found.Groups['port'].Value; Id = [int] $found.Groups['id'].Value }
    }
}

# Listeners by TCP, or UDP sockets, with their programs. netstat.exe asks the kernel, not WMI; 3 s, because
# the answer and the lock of the caller wait for it.
function Get-WinPortOwners {
    param([string] $Protocol)
    $names = @{}
    foreach ($process in Get-Process) { $names[[int] $process.Id] = [string] $process.ProcessName }
    $run = Invoke-WinProgram -Path ((Get-KnownFolder -Name 'System') + '\netstat.exe') -Arguments '-ano' -Seconds 3
    foreach ($listener in @(ConvertFrom-Netstat -Text $run.Text -Protocol $Protocol)) {
        if ($names.ContainsKey($listener.Id)) { $listener + @{ Name = $names[$listener.Id] } }
    }
}
