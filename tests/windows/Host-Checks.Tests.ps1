# The numbered checks of host.ps1, with a Windows of tables.

$more = [System.IO.Path]::Combine($PSScriptRoot, 'world-host.ps1')
. $more

function Get-TaskFacts {
    param([string] $Sid)
    $script:World.Tasks
}

function Get-WinSession {
    @{ Number = 1; Interactive = $true; Age = $script:World.Age; Denied = $false }
}

function Invoke-WinCommand {
    param([string] $Name, [hashtable] $Parameters, [int] $Seconds)
    Add-Call -Text $Name
    @{ Items = @(); Problem = 'no answer within 6 s' }
}

function Get-WinProcessIds {
    param([string] $Name)
    4711
}

# Each run has its own: an answer to the one before is none to the next.
function New-Ticket {
    $script:World.LastTicket += 1
    $script:World.LastTicket
}

function Measure-WinFirewall {
    Add-Call -Text 'firewall'
    [ordered] @{ 'rules' = 400 }
}

function Start-WinTaskAs {
    param([string] $Name, [string] $Sid)
    Assert-Equal -Expected ('forward-' + $Sid) -Found $Name
    $script:World.RunAs
}

function Measure-WinRelayBlocks {
    $script:World.RelayBlocks
}

function Get-WinModulePath {
    $script:World.ModulePath
}

function Get-WinVersion {
    '10.0.22631.0'
}

# The service listens on what the table says, unless it is deaf; others do besides.
function Get-WinListeners {
    $found = $script:World.Listening.Clone()
    if ($script:World.Deaf -or (-not $script:World.Registry.ContainsKey($ProxyPath))) { return $found }
    foreach ($listener in $script:World.Registry[$ProxyPath].Keys) {
        $found[$listener.Split('/')[1]] = @($listener.Split('/')[0])
    }
    $found
}

function Get-WinTaskRights {
    param([string] $Name)
    'D:(A;;GRGX;;;' + $Name.Substring(8) + ')'
}

function Measure-WinTask {
    param([string] $Name)
    Add-Call -Text 'task'
    800
}

function Get-WinSecondBindError {
    Add-Call -Text 'port'
    10048
}

function Find-UserRelays {
    param([string] $Path)
    $Path + '\wslmesh-relay-0123456789abcdef.exe'
}

function Invoke-WinProgram {
    param([string] $Path, [string] $Arguments, [int] $Seconds)
    Add-Call -Text 'relay'
    @{ Code = 0; Error = $null; Text = ''; Milliseconds = 30 }
}

function Invoke-NetshTrial {
    param([string] $Folder, [string[]] $Lines)
    Add-Call -Text 'netsh'
    "error`n#`npushd interface portproxy`n`nreset`npopd"
}

function Find-Check {
    param([object[]] $Checks, [string] $Id)
    foreach ($check in $Checks) {
        if ($check['id'] -ceq $Id) {
            return $check
        }
    }
    throw ('no check ' + $Id)
}

function Get-Results {
    param([bool] $Probe)
    Get-Checks -Caller $script:World.Account -Places (Get-Places) -Probe $Probe -Forwards $script:World.Forwards
}

Test-Case -Name 'all checks, in their order, without a probe' -Body {
    Reset-HostWorld
    $checks = @(Get-Results -Probe $false)
    Assert-Equal -Expected 23 -Found $checks.Count
    Assert-Equal -Expected 'T1 T23' -Found ('{0} {1}' -f $checks[0]['id'], $checks[22]['id'])
    Assert-Equal -Expected 'ok' -Found (Find-Check -Checks $checks -Id 'T1')['result']
    foreach ($id in @('T3', 'T4', 'T9', 'T14', 'T15', 'T16', 'T18', 'T21', 'T23')) {
        Assert-Equal -Expected 'not-run' -Found (Find-Check -Checks $checks -Id $id)['result']
    }
    foreach ($name in @('netsh', 'port', 'task')) {
        Assert-True -Found (-not $script:World.Calls.Contains($name)) -What $name
    }
}

Test-Case -Name 'a probe tries what changes something' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    $checks = @(Get-Results -Probe $true)
    foreach ($id in @('T4', 'T9', 'T11', 'T15', 'T16', 'T21')) {
        Assert-Equal -Expected 'ok' -Found (Find-Check -Checks $checks -Id $id)['result']
    }
    Assert-True -Found $script:World.Calls.Contains('task') -What 'a start of the task'
}

Test-Case -Name 'what throws differs, and the others go on' -Body {
    Reset-HostWorld
    $script:World.Broken = 'firewall'
    $checks = @(Get-Results -Probe $false)
    Assert-Equal -Expected 23 -Found $checks.Count
    $check = Find-Check -Checks $checks -Id 'T7'
    Assert-Equal -Expected 'differs' -Found $check['result']
    Assert-True -Found ($check['detail'] -like '*broken*') -What 'the reason'
}

Test-Case -Name 'an address outside the network differs, and no network is no answer' -Body {
    Reset-HostWorld
    $script:World.GuestAddress = '192.168.1.4'
    Assert-Equal -Expected 'differs' -Found (Find-Check -Checks @(Get-Results -Probe $false) -Id 'T1')['result']
    $script:World.Network = ''
    $checks = @(Get-Results -Probe $false)
    Assert-Equal -Expected 'not-run' -Found (Find-Check -Checks $checks -Id 'T1')['result']
    Assert-Equal -Expected 'differs' -Found (Find-Check -Checks $checks -Id 'T2')['result']
}

Test-Case -Name 'with rights, no relay is tried and no file of the user read' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    $script:World.Account.Elevated = $true
    $checks = @(Get-Results -Probe $true)
    foreach ($id in @('T4', 'T16')) {
        Assert-Equal -Expected 'not-run' -Found (Find-Check -Checks $checks -Id $id)['result']
    }
    foreach ($name in @('netsh', 'relay')) {
        Assert-True -Found (-not $script:World.Calls.Contains($name)) -What $name
    }
}

Test-Case -Name 'no detail names the account' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    foreach ($check in @(Get-Results -Probe $true)) {
        Assert-True -Found (-not $check['detail'].Contains($script:World.Sid)) -What $check['id']
        [void] (ConvertFrom-Json -InputObject $check['detail'])
    }
}

# Installed, with a task that makes the one rule of the port proxy that a selection has
# beside those of the sample, and leads it to Target.
function Set-ScratchWorld {
    param([string] $Entries, [string] $Target)
    Reset-World
    Reset-HostWorld
    Set-InstalledWorld
    $script:World.Selection = Get-SelectionSample -Entries $Entries
    $script:World.Target = $Target
    $script:World.Registry[$ProxyPath] = @{ '0.0.0.0/2999' = '10.0.0.9/80' }
    $script:World.Task = {
        $found = [regex]::Matches($script:World.Selection, '\[6,(?<listen>8[0-9]{3}),443,1\]')
        $table = $script:World.Registry[$ProxyPath]
        foreach ($listener in @($table.Keys)) {
            if ($listener -clike '127.0.0.1/*') {
                $table.Remove($listener)
            }
        }
        foreach ($entry in $found) {
            $table['127.0.0.1/' + $entry.Groups['listen'].Value] = $script:World.Target
        }
        $script:World.Answer = '{"version":1,"ticket":' + $script:World.LastTicket + ',"state":"synced","detail":null}'
    }
}

function Get-Scratch {
    Find-Check -Checks @(Get-Results -Probe $true) -Id 'T18'
}

# What must hold however the trial went: the former selection stands, under a ticket of
# its own.
function Assert-Restored {
    param([string] $Entries)
    Assert-Equal -Expected ('{"version":1,"ticket":102,"mode":1,"forwards":[' + $Entries + ']}') -Found $script:World.Selection
}

function Assert-Untouched {
    param([string] $Reason, [string] $Selection)
    $check = Get-Scratch
    Assert-Equal -Expected 'not-run' -Found $check['result']
    Assert-True -Found ($check['detail'] -clike ('*' + $Reason + '*')) -What $check['detail']
    Assert-Equal -Expected $Selection -Found $script:World.Selection
    Assert-Equal -Expected 0 -Found $script:World.Starts
}

Test-Case -Name 'a scratch rule is made and removed, and the selection put back' -Body {
    Set-ScratchWorld -Entries '[6,2001,80,1],[6,8999,80,2]' -Target '172.28.16.5/443'
    $script:World.Listening = @{ '8998' = @('127.0.0.1') }
    $check = Get-Scratch
    Assert-Equal -Expected 'ok' -Found $check['result']
    Assert-True -Found ($check['detail'] -clike '*"port":8997,*') -What $check['detail']
    Assert-Equal -Expected 2 -Found $script:World.Starts
    Assert-Restored -Entries '[6,2001,80,1],[6,8999,80,2]'
    Assert-Equal -Expected '0.0.0.0/2999=10.0.0.9/80' -Found (Get-TableText -Table $script:World.Registry[$ProxyPath])
}

Test-Case -Name 'Windows has to open the port, and to close it' -Body {
    Set-ScratchWorld -Entries '' -Target '172.28.16.5/443'
    $script:World.Deaf = $true
    $check = Get-Scratch
    Assert-Equal -Expected 'differs' -Found $check['result']
    Assert-True -Found ($check['detail'] -clike '*did not open the port*') -What $check['detail']
    Assert-Restored -Entries ''
}

Test-Case -Name 'many forwards on request, and how long they took' -Body {
    Set-ScratchWorld -Entries '[6,2001,80,1]' -Target '172.28.16.5/443'
    $script:World.Forwards = 900
    $check = Find-Check -Checks @(Get-Results -Probe $false) -Id 'T23'
    Assert-Equal -Expected 'ok' -Found $check['result']
    # The sample's ports without a firewall rule first, and no more than are asked for.
    Assert-True -Found ($check['detail'] -clike '*"forwards":900,"step":null,"made":"synced"*') -What $check['detail']
    Assert-Restored -Entries '[6,2001,80,1]'
    Set-ScratchWorld -Entries '' -Target '172.28.16.5/443'
    $script:World.Forwards = 2000
    $check = Find-Check -Checks @(Get-Results -Probe $false) -Id 'T23'
    Assert-True -Found ($check['detail'] -clike '*"forwards":1999,*') -What $check['detail']
}

Test-Case -Name 'what the firewall, the scheduler and the module path show' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    $script:World.RelayBlocks = 2
    $script:World.RunAs = '0x00000000'
    $script:World.ModulePath = 'P:\Modules;U:\Modules'
    $checks = @(Get-Results -Probe $true)
    foreach ($id in @('T20', 'T21', 'T22')) {
        Assert-Equal -Expected 'differs' -Found (Find-Check -Checks $checks -Id $id)['result']
    }
}

Test-Case -Name 'the only forward of an empty selection' -Body {
    Set-ScratchWorld -Entries '' -Target '172.28.16.5/443'
    Assert-Equal -Expected 'ok' -Found (Get-Scratch)['result']
    Assert-Restored -Entries ''
    Set-ScratchWorld -Entries '' -Target '172.28.16.5/443'
    $script:World.Selection = ''
    Assert-Equal -Expected 'ok' -Found (Get-Scratch)['result']
    Assert-Equal -Expected '' -Found $script:World.Selection
}

Test-Case -Name 'a scratch rule that leads elsewhere, or does not come, or stays' -Body {
    Set-ScratchWorld -Entries '' -Target '172.28.16.9/443'
    $check = Get-Scratch
    Assert-Equal -Expected 'differs' -Found $check['result']
    Assert-True -Found ($check['detail'] -clike '*172.28.16.9/443 instead of 172.28.16.5/443*') -What $check['detail']
    Assert-Restored -Entries ''
    Set-ScratchWorld -Entries '[6,2001,80,1]' -Target ''
    $script:World.Task = { $script:World.Answer = '{"version":1,"ticket":' + $script:World.LastTicket + ',"state":"partial"}' }
    $check = Get-Scratch
    Assert-Equal -Expected 'differs' -Found $check['result']
    Assert-True -Found ($check['detail'] -clike '*no rule was made*partial*') -What $check['detail']
    Assert-Restored -Entries '[6,2001,80,1]'
    Set-ScratchWorld -Entries '' -Target ''
    $script:World.Task = { $script:World.Registry[$ProxyPath]['127.0.0.1/8999'] = '172.28.16.5/443' }
    $check = Get-Scratch
    Assert-Equal -Expected 'differs' -Found $check['result']
    Assert-True -Found ($check['detail'] -clike '*was not removed*no answer*') -What $check['detail']
    Assert-Restored -Entries ''
}

Test-Case -Name 'a sync that comes meanwhile keeps its selection' -Body {
    Set-ScratchWorld -Entries '[6,2001,80,1]' -Target ''
    $later = Get-SelectionSample -Entries '[6,2002,80,1]'
    $script:World.Task = { $script:World.Selection = Get-SelectionSample -Entries '[6,2002,80,1]' }
    $check = Get-Scratch
    Assert-Equal -Expected 'not-run' -Found $check['result']
    Assert-Equal -Expected $later -Found $script:World.Selection
}

Test-Case -Name 'a task that does not start leaves the former selection' -Body {
    Set-ScratchWorld -Entries '[6,2001,80,1]' -Target ''
    $script:World.Task = { throw 'disabled' }
    $check = Get-Scratch
    Assert-Equal -Expected 'differs' -Found $check['result']
    Assert-True -Found ($check['detail'] -clike '*disabled*') -What $check['detail']
    Assert-Restored -Entries '[6,2001,80,1]'
}

Test-Case -Name 'what keeps a scratch rule from being tried leaves the selection alone' -Body {
    foreach ($strange in @('{}', '{"version":2,"ticket":7,"mode":1,"forwards":[]}', '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2001,80,1]]} ')) {
        Set-ScratchWorld -Entries '' -Target ''
        $script:World.Selection = $strange
        Assert-Untouched -Reason 'stays untouched' -Selection $strange
    }
    Set-ScratchWorld -Entries '' -Target ''
    $mirrored = '{"version":1,"ticket":7,"mode":2,"forwards":[[6,22,22,3]]}'
    $script:World.Selection = $mirrored
    Assert-Untouched -Reason 'mirrored' -Selection $mirrored
    Set-ScratchWorld -Entries '' -Target ''
    $script:World.Network = ''
    Assert-Untouched -Reason 'no address of the guest' -Selection (Get-SelectionSample -Entries '')
    Set-ScratchWorld -Entries '' -Target ''
    $script:World.Age = 30000
    Assert-Untouched -Reason 'too long' -Selection (Get-SelectionSample -Entries '')
    Set-ScratchWorld -Entries '' -Target ''
    $script:World.Selection = ''
    $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid + '\ledger'] = @{ 'tcp/0.0.0.0/2022' = '172.28.16.5/22' }
    Assert-Untouched -Reason 'there are forwards, and no request file' -Selection ''
    Set-ScratchWorld -Entries '' -Target ''
    Set-CleanWorld
    Assert-Untouched -Reason 'not installed' -Selection (Get-SelectionSample -Entries '')
}

Test-Case -Name 'a policy without a spare port' -Body {
    Set-ScratchWorld -Entries '[6,2299,22,1]' -Target ''
    $own = 'SOFTWARE\wslmesh\' + $script:World.Sid
    $script:World.Registry[$own] = @{ 'policy' = '{"version":1,"package":"0.1.0","distribution":"Debian","logon":true,"profiles":["private"],"grants":[{"protocol":"tcp","listen-address":"0.0.0.0","listen-ports":[2299,2299],"connect-ports":[22,22],"firewall":"local"}]}' }
    Assert-Untouched -Reason 'host install --ports tcp:2299' -Selection (Get-SelectionSample -Entries '[6,2299,22,1]')
}

Test-Case -Name 'nothing is made from a folder that Windows does not name' -Body {
    Reset-HostWorld
    $script:World.Account.Elevated = $true
    Assert-Equal -Expected 'ProgramFiles\wslmesh' -Found (Get-InstalledFolder)
    foreach ($name in @('ProgramFiles', 'System', 'LocalApplicationData')) {
        $script:World.Unnamed = $name
        Assert-True -Found ((Get-Message -Body { Get-KnownFolder -Name $name }) -clike ('Windows does not say where * "' + $name + '"; *')) -What $name
    }
    $script:World.Unnamed = 'ProgramFiles'
    Assert-True -Found ((Get-Message -Body { Get-InstalledFolder }) -clike 'Windows does not say*') -What 'no folder of ours'
}
