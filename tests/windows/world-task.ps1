# Who calls, what is installed, and what lies between the two sides.

function Reset-TaskWorld {
    $script:World += @{
        Sid = 'S-1-5-21-1-2-3-1001'
        Elevated = $false
        Policy = Get-PolicySample
        Installed = '{"version":"0.1.0","contract":2,"files":[]}'
        Selection = ''
        Input = ''
        # What the task does when it is started: puts an answer, or throws.
        Task = { }
        Answer = ''
        Starts = 0
        # How often it has run, and what it does now: 2 waits, 3 ready, 4 runs.
        Runs = 0
        State = 3
        Result = '0x00000000'
        Clock = $null
        GuestAddress = '172.28.16.5'
        Network = '172.28.16.0/20'
        Gateway = '172.28.16.1'
    }
}

function Get-PolicySample {
    '{"version":2,"package":"0.1.0","distribution":"Debian","logon":true,"mode":"nat","profiles":["domain","private"],"grants":[' +
        '{"protocol":"tcp","listen-address":"0.0.0.0","listen-ports":[2000,2999],"connect-ports":[1,1023],"firewall":"local","backend":"portproxy"},' +
        '{"protocol":"tcp","listen-address":"127.0.0.1","listen-ports":[8000,8999],"connect-ports":[80,443],"firewall":"none","backend":"portproxy"},' +
        '{"protocol":"udp","listen-address":"0.0.0.0","listen-ports":[51820,51820],"connect-ports":[51820,51820],"firewall":"full","backend":"auto"}]}'
}

# A selection in the form that refresh.ps1 writes.
function Get-SelectionSample {
    param([string] $Entries)
    '{"version":1,"ticket":7,"mode":1,"forwards":[' + $Entries + ']}'
}

function Read-Selection {
    param([string] $Sid)
    Assert-Equal -Expected $script:World.Sid -Found $Sid
    $script:World.Selection
}

function Write-Selection {
    param([string] $Path, [string] $Text)
    Assert-True -Found ($Path -clike ('*\wslmesh\' + $script:World.Sid + '\inbox\selection.json')) -What $Path
    $script:World.Selection = $Text
}

function Get-WinPath {
    param([string] $Name)
    @{ 'LocalApplicationData' = 'C:\Users\me\AppData\Local'; 'ProgramFiles' = 'C:\Program Files'; 'System' = 'C:\Windows\System32' }[$Name]
}

function Test-WinFile {
    param([string] $Path)
    $Path -ceq $script:World.Relay
}

function Read-WinInput {
    param($Stream)
    @{ Bytes = [System.Text.Encoding]::ASCII.GetBytes($script:World.Input) }
}

function Get-WinCaller {
    @{ Sid = $script:World.Sid; Elevated = $script:World.Elevated }
}

function Get-WinInterfaces {
    @{ Index = 5; Name = 'Ethernet'; Up = $true; Loopback = $false; Mtu = 1500; Gateway = $true; Addresses = @('192.168.50.10'); Prefixes = @(24); Addresses6 = @('2001:db8::10') }
}

# fe80::10, and 2001:db8:1::10 with its subnet and alone.
function Get-WinIPv6Addresses {
    $own = @(0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10)
    @{ Bytes = [byte[]] (@(0xfe, 0x80) + @(0) * 13 + @(0x10)); Length = 64 }
    @{ Bytes = [byte[]] $own; Length = 64 }
    @{ Bytes = [byte[]] $own; Length = 128 }
}

function New-Ticket {
    7
}

function Start-WinTask {
    param([string] $Name)
    Assert-Equal -Expected ('forward-' + $script:World.Sid) -Found $Name
    $script:World.Starts += 1
    $script:World.Runs += 1
    $task = $script:World.Task
    & $task
}

function Get-WinTaskRun {
    param([string] $Name)
    Assert-Equal -Expected ('forward-' + $script:World.Sid) -Found $Name
    @{ State = $script:World.State; Time = $script:World.Runs; Result = $script:World.Result }
}

function Read-WinText {
    param([string] $Path)
    if ($Path -clike ('*\wslmesh\' + $script:World.Sid + '\answer.json')) { return $script:World.Answer }
    Assert-True -Found ($Path -clike ('*\wslmesh\' + $script:World.Sid + '\inbox\selection.json')) -What $Path
    $script:World.Selection
}

function New-WinClock {
    $script:World.Clock = @{ ElapsedMilliseconds = 0 }
    $script:World.Clock
}

function Wait-Win {
    param([int] $Milliseconds)
    $script:World.Clock.ElapsedMilliseconds += $Milliseconds
}

function Get-WinUserValue {
    param([string] $Sid, [string] $Path, [string] $Name)
    Assert-Equal -Expected ($script:World.Sid + ' NatIpAddress') -Found ($Sid + ' ' + $Name)
    $script:World.GuestAddress
}
