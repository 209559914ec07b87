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
    param([string] $Name, [hashtable] $Parameters, [int] $Seconds, [string] $Module)
    Add-Call -Text $Name
    @{ Items = @(); Problem = 'no answer within 6 s'; Absent = $false }
}

function Get-WinProcessIds {
    param([string] $Name)
    4711
}

function Measure-WinFirewall {
    Add-Call -Text 'firewall'
    [ordered] @{ 'rules' = 400; 'relay-blocks' = $script:World.RelayBlocks }
}

function Get-WinStartTasks {
    $script:World.StartTasks
}

function Find-DiskFiles {
    param([string] $Sid)
    $script:World.Disks
}

function Get-WinDisk {
    param([string] $Path)
    $script:World.Disk
}

function Start-WinTaskAs {
    param([string] $Name, [string] $Sid)
    Assert-Equal -Expected ('forward-' + $Sid) -Found $Name
    $script:World.RunAs
}

function Get-WinModulePath {
    $script:World.ModulePath
}

function Get-WinVersion {
    '10.0.22631.0'
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
    Get-Checks -Caller $script:World.Account -Places (Get-Places) -Probe $Probe
}

Test-Case -Name 'all checks, in their order, without a probe' -Body {
    Reset-HostWorld
    $checks = @(Get-Results -Probe $false)
    # The agent makes T18 and T23.
    Assert-Equal -Expected '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 19 20 21 22 24 25 26' -Found (@($checks | ForEach-Object { $_['id'].Substring(1) }) -join ' ')
    Assert-Equal -Expected 'ok' -Found (Find-Check -Checks $checks -Id 'T1')['result']
    foreach ($id in @('T3', 'T4', 'T9', 'T14', 'T15', 'T16', 'T21')) {
        Assert-Equal -Expected 'not-run' -Found (Find-Check -Checks $checks -Id $id)['result']
    }
    foreach ($name in @('netsh', 'port', 'task')) {
        Assert-True -Found (-not $script:World.Calls.Contains($name)) -What $name
    }
    $script:World.HasHyperV = $false
    $checks = @(Get-Results -Probe $false)
    foreach ($id in @('T8', 'T19')) {
        Assert-Equal -Expected 'not-run' -Found (Find-Check -Checks $checks -Id $id)['result']
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
    Assert-Equal -Expected 24 -Found $checks.Count
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
    # Its list is read once, whatever the number of checks about it.
    Assert-Equal -Expected 1 -Found @($script:World.Calls | Where-Object { $_ -ceq 'firewall' }).Count
}

Test-Case -Name 'tasks that start WSL and are stopped' -Body {
    Reset-HostWorld
    $table = @(
        @('ok', '', @()),
        @('ok', '', @(@{ Path = '\wslmesh\logon-x'; Limit = 'PT0S' })),
        @('differs', '\Start Debian after PT72H', @(@{ Path = '\Start Debian'; Limit = 'PT72H' })),
        @('differs', '\a after PT72H, \b\c after P3D', @(@{ Path = '\a'; Limit = '' }, @{ Path = '\b\c'; Limit = 'P3D' }, @{ Path = '\d'; Limit = 'PT0S' }))
    )
    foreach ($case in $table) {
        $script:World.StartTasks = $case[2]
        $check = Find-Check -Checks @(Get-Results -Probe $false) -Id 'T24'
        Assert-Equal -Expected $case[0] -Found $check['result']
        $facts = ConvertFrom-Json -InputObject $check['detail']
        Assert-Equal -Expected $case[1] -Found $facts.stopped
        Assert-Equal -Expected ($case[0] -ceq 'differs') -Found ($check['detail'] -clike '*PT0S*')
    }
}

Test-Case -Name 'where the virtual disks are' -Body {
    Reset-HostWorld
    Assert-Equal -Expected 'not-run' -Found (Find-Check -Checks @(Get-Results -Probe $false) -Id 'T25')['result']
    $script:World.Disks = @(@{ Folder = 'C:\wsl\{a}'; Path = 'C:\wsl\{a}\ext4.vhdx'; Drive = 'C:' })
    $table = @(
        @('ok', '', @{ Kind = 3; Free = 2048; Packed = $false }),
        @('differs', 'C: has 2047 MiB free', @{ Kind = 3; Free = 2047; Packed = $false }),
        @('differs', 'C: is no drive of this machine alone (kind 4)', @{ Kind = 4; Free = 9000; Packed = $false }),
        @('differs', 'a virtual disk on C: is compressed or encrypted', @{ Kind = 3; Free = 9000; Packed = $true })
    )
    foreach ($case in $table) {
        $script:World.Disk = $case[2]
        $check = Find-Check -Checks @(Get-Results -Probe $false) -Id 'T25'
        Assert-Equal -Expected $case[0] -Found $check['result']
        Assert-Equal -Expected $case[1] -Found (ConvertFrom-Json -InputObject $check['detail']).problems
    }
}

Test-Case -Name 'nothing is claimed of exclusions, and nothing that could run is in the command' -Body {
    Reset-HostWorld
    foreach ($case in @(@('C:\wsl\{a}', '"C:\wsl\{a}"'), @('C:\a $(calc)', 'FOLDER'), @('C:\a`b', 'FOLDER'), @("C:\it's", 'FOLDER'))) {
        $script:World.Disks = @(@{ Folder = $case[0]; Path = $case[0] + '\ext4.vhdx'; Drive = 'C:' })
        $check = Find-Check -Checks @(Get-Results -Probe $false) -Id 'T26'
        Assert-Equal -Expected 'not-run' -Found $check['result']
        Assert-Equal -Expected ('Add-MpPreference -ExclusionPath ' + $case[1]) -Found (ConvertFrom-Json -InputObject $check['detail']).'exclude'
    }
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
