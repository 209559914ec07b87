# Ports.

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
