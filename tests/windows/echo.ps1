#Requires -Version 5.1
# Speaks to the two forwards of the workflow windows.yml as a client on Windows: what is
# sent must come back, by TCP and by UDP, within a minute of tries.
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)

# ---- Windows ---------------------------------------------------------------

function Test-Tcp {
    $client = New-Object System.Net.Sockets.TcpClient('127.0.0.1', 22222)
    try {
        $stream = $client.GetStream()
        $stream.ReadTimeout = 3000
        $stream.Write([System.Text.Encoding]::ASCII.GetBytes("hello`n"), 0, 6)
        $buffer = New-Object byte[] 6
        $length = $stream.Read($buffer, 0, 6)
        [System.Text.Encoding]::ASCII.GetString($buffer, 0, $length)
    } finally {
        $client.Dispose()
    }
}

function Test-Udp {
    $client = New-Object System.Net.Sockets.UdpClient
    try {
        $client.Client.ReceiveTimeout = 3000
        $client.Connect('127.0.0.1', 22223)
        [void] $client.Send([System.Text.Encoding]::ASCII.GetBytes("hello`n"), 6)
        $from = New-Object System.Net.IPEndPoint([System.Net.IPAddress]::Any, 0)
        [System.Text.Encoding]::ASCII.GetString($client.Receive([ref] $from))
    } finally {
        $client.Dispose()
    }
}

function Wait-Echo {
    param([string] $Name)
    $said = 'nothing'
    for ($turn = 1; $turn -le 20; $turn += 1) {
        try {
            if ($Name -ceq 'tcp') {
                $said = Test-Tcp
            } else {
                $said = Test-Udp
            }
            if ($said -ceq "hello`n") {
                Write-Host ('{0}: ok at try {1}' -f $Name, $turn)
                return
            }
        } catch {
            $said = $_.Exception.Message
        }
        Start-Sleep -Milliseconds 3000
    }
    throw ('{0}: {1}' -f $Name, $said)
}

Wait-Echo -Name 'tcp'
Wait-Echo -Name 'udp'
