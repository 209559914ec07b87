# The numbered checks of host.ps1, with a Windows of tables.

$more = [System.IO.Path]::Combine($PSScriptRoot, 'world-host.ps1')
. $more

function Get-TaskFacts {
    param([string] $Sid)
    $script:World.Tasks
}

function Test-Command {
    param([string] $Name)
    $true
}

function Test-Interactive {
    $true
}

function Invoke-Limited {
    param([string] $Name, [hashtable] $Parameters, [int] $Seconds)
    Add-Call -Text $Name
    @{ Items = @(); Problem = 'no answer within 6 s' }
}

function Get-ProcessNumbers {
    param([string] $Name)
    4711
}

function Get-AgeMilliseconds {
    900
}

function Measure-Firewall {
    Add-Call -Text 'firewall'
    [ordered] @{ 'rules' = 400 }
}

function Get-LastRun {
    param([string] $Sid)
    @{ Result = '0x00000000'; Rights = 'D:(A;;GRGX;;;' + $Sid + ')' }
}

function Measure-Task {
    param([string] $Sid)
    Add-Call -Text 'task'
    800
}

function Get-SecondBindError {
    Add-Call -Text 'port'
    10048
}

function Find-UserRelays {
    param([string] $Path)
    $Path + '\wslmesh-relay-0123456789abcdef.exe'
}

function Invoke-Relay {
    param([string] $Path)
    Add-Call -Text 'relay'
    @{ Code = 0; Error = $null; Milliseconds = 30 }
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
    Get-Checks -Caller $script:World.Account -Places (Get-Places) -Probe $Probe
}

Test-Case -Name 'all checks, in their order, without a probe' -Body {
    Reset-HostWorld
    $checks = @(Get-Results -Probe $false)
    Assert-Equal -Expected 17 -Found $checks.Count
    Assert-Equal -Expected 'T1 T17' -Found ('{0} {1}' -f $checks[0]['id'], $checks[16]['id'])
    Assert-Equal -Expected 'ok' -Found (Find-Check -Checks $checks -Id 'T1')['result']
    foreach ($id in @('T3', 'T4', 'T9', 'T14', 'T15', 'T16')) {
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
    foreach ($id in @('T4', 'T9', 'T11', 'T15', 'T16')) {
        Assert-Equal -Expected 'ok' -Found (Find-Check -Checks $checks -Id $id)['result']
    }
    Assert-True -Found $script:World.Calls.Contains('task') -What 'a start of the task'
}

Test-Case -Name 'what throws differs, and the others go on' -Body {
    Reset-HostWorld
    $script:World.Broken = 'firewall'
    $checks = @(Get-Results -Probe $false)
    Assert-Equal -Expected 17 -Found $checks.Count
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
