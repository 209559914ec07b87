# The scheduled tasks of a Windows user, and a run of the one that makes the port proxy's forwards.

$TaskFolder = '\wslmesh'
$Superseded = 'a later request of this Windows user took the place of this one; does another distribution run wslmesh, too?'

# Program and arguments of each task. wslg.exe is wsl.exe without a console window
# (microsoft/WSL: WslgMain); it knows no --exec, a shell type of "none" is the same. The
# directory would be that of the task on a Windows drive, and keep it in use.
function Get-TaskActions {
    param([string] $Sid, [hashtable] $Places, [System.Collections.IDictionary] $Policy)
    $logon = @{ Program = $Places.System + '\wsl.exe'; Arguments = '-d {0} --cd / --exec sleep infinity' -f $Policy['distribution'] }
    if ($Places.Windowless) {
        $logon = @{ Program = $Places.Windowless; Arguments = '-d {0} --cd / --shell-type none -- sleep infinity' -f $Policy['distribution'] }
    }
    @{
        Forward = @{
            Program = $Places.System + '\WindowsPowerShell\v1.0\powershell.exe'
            Arguments = '-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "{0}\forward.ps1" -Sid {1}' -f $Places.Program, $Sid
        }
        Logon = $logon
    }
}

# Administrators and the system do everything, users see that the folder is there.
# Any user may make a folder of this name before us; hence an owner and a list of ours.
$TaskFolderSecurity = 'O:BAG:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;GRGX;;;BU)'

# The one right that the user gets on a task is to read it and to start it.
$TaskSecurity = 'O:BAG:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;GRGX;;;{0})'

# The names of elements are those of the task scheduler's schema ([MS-TSCH] 2.5).
function New-TaskXml {
    param([string] $Sid, [string] $Kind, [hashtable] $Action, [string] $Folder)
    # SYSTEM runs it, so that an account without administrator rights can have it, and
    # nothing in that account's environment reaches it.
    $about = 'Makes the port forwards that were agreed to for '
    $trigger = ''
    $principal = '<UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel>'
    $instances = 'Queue'
    $limit = 'PT1M'
    if ($Kind -cne 'forward') {
        $about = 'Starts the relay once, for '
        $principal = '<UserId>{0}</UserId><LogonType>InteractiveToken</LogonType><RunLevel>LeastPrivilege</RunLevel>' -f $Sid
        $instances = 'IgnoreNew'
    }
    if ($Kind -ceq 'logon') {
        $about = 'Starts the distribution and keeps it, for '
        $trigger = '<LogonTrigger><Enabled>true</Enabled><UserId>{0}</UserId></LogonTrigger>' -f $Sid
        $limit = 'PT0S'
    }
    $lines = @(
        '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">'
        '<RegistrationInfo><Author>wslmesh</Author><Description>{0}{1}</Description></RegistrationInfo>' -f $about, $Sid
        '<Triggers>{0}</Triggers>' -f $trigger
        '<Principals><Principal id="Author">{0}</Principal></Principals>' -f $principal
        '<Settings>'
        '<MultipleInstancesPolicy>{0}</MultipleInstancesPolicy>' -f $instances
        '<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries><StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>'
        '<AllowHardTerminate>true</AllowHardTerminate><StartWhenAvailable>false</StartWhenAvailable>'
        '<RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable><AllowStartOnDemand>true</AllowStartOnDemand>'
        '<Enabled>true</Enabled><Hidden>false</Hidden><RunOnlyIfIdle>false</RunOnlyIfIdle><WakeToRun>false</WakeToRun>'
        '<ExecutionTimeLimit>{0}</ExecutionTimeLimit>' -f $limit
        # 7, the default, is below what people's own programs run with.
        '<Priority>5</Priority>'
        '</Settings>'
        '<Actions Context="Author"><Exec>'
        '<Command>{0}</Command>' -f [System.Security.SecurityElement]::Escape($Action.Program)
        '<Arguments>{0}</Arguments>' -f [System.Security.SecurityElement]::Escape($Action.Arguments)
        '<WorkingDirectory>{0}</WorkingDirectory>' -f [System.Security.SecurityElement]::Escape($Folder)
        '</Exec></Actions>'
        '</Task>'
    )
    $lines -join "`r`n"
}

# The task may be reading the file.
function Write-Selection {
    param([string] $Path, [string] $Text)
    Invoke-WinShared -Milliseconds 1500 -Body { Write-WinFile -Path $Path -Bytes ([System.Text.Encoding]::ASCII.GetBytes($Text)) }
}

# One run for a selection: the answer to its ticket as Text, or why there is none. Nothing keeps two requests apart:
# runs of the task are queued, and each reads the selection as it is then. So the one that was written last is served
# last, and a request whose selection was replaced sees that. A task that was made anew since it was started has never
# run: it is started once more.
function Invoke-TaskRun {
    param([string] $Sid, [int] $Ticket, [string] $Text)
    $name = 'forward-' + $Sid
    $folder = (Get-InstalledFolder) + '\' + $Sid
    $script:Step = 'write the selection'
    Write-Selection -Path ($folder + '\inbox\selection.json') -Text $Text
    $script:Step = 'start the task'
    $before = Get-WinTaskRun -Name $name
    Start-WinTask -Name $name
    $script:Step = 'wait for the answer of the task'
    $clock = New-WinClock
    $again = $false
    $start = '{"version":1,"ticket":' + $Ticket + ','
    do {
        $found = Read-WinText -Path ($folder + '\answer.json')
        if ($found.StartsWith($start, [System.StringComparison]::Ordinal)) { return @{ Text = $found } }
        Wait-Win -Milliseconds 75
        if ((-not $again) -and ($clock.ElapsedMilliseconds -ge 4000)) {
            $again = $true
            # 3: ready, so it neither runs nor waits for its turn.
            $run = Get-WinTaskRun -Name $name
            if (($run.State -eq 3) -and ($run.Time -eq $before.Time)) { Start-WinTask -Name $name }
        }
    } while ($clock.ElapsedMilliseconds -lt 10000)
    if ((Read-WinText -Path ($folder + '\inbox\selection.json')) -cne $Text) {
        return @{ Text = ''; State = 'superseded'; Detail = $Superseded }
    }
    $run = Get-WinTaskRun -Name $name
    @{ Text = ''; State = 'task-timeout'; Detail = Get-TimeoutDetail -Run $run -Ran ($run.Time -gt $before.Time) }
}

# Why a run left no answer. forward.ps1 ends with a number of its own where it cannot write
# one; a result from before this request says nothing about it.
function Get-TimeoutDetail {
    param([hashtable] $Run, [bool] $Ran)
    $known = @{
        '0x00000001' = 'PowerShell ended before the script began: a policy of this machine may forbid scripts; ask its administrator'
        '0x00000002' = 'its argument is damaged; run "wslmesh host install"'
        '0x00000003' = 'a policy of this machine keeps PowerShell in constrained language mode; ask its administrator'
        '0x00000004' = 'its answer could not be written; is the disk full? Then run "wslmesh host install"'
        '0xfffd0000' = 'its script is missing; run "wslmesh host install"'
        '0x00041306' = 'it took more than a minute and was ended; forward fewer ports'
    }
    $words = 'it ended without an answer to this request; the agent tries again'
    if (@(2, 4) -contains $Run.State) {
        $words = @{ 2 = 'it waits for an earlier run; the agent tries again'; 4 = 'it is still at work; the agent tries again' }[$Run.State]
    } elseif (-not $Ran) {
        $words = 'it did not run: it was replaced meanwhile, or Windows is busy; the agent tries again'
    } elseif ($known.ContainsKey($Run.Result)) {
        $words = $known[$Run.Result]
    }
    'the task of wslmesh gave no answer within 10 s: {0} (last result {1})' -f $words, $Run.Result
}

function Get-TaskFacts {
    param([string] $Sid)
    @{ Forward = Get-WinTask -Name ('forward-' + $Sid); Logon = Get-WinTask -Name ('logon-' + $Sid); Try = Get-WinTask -Name ('try-' + $Sid) }
}

# The task scheduler, through its COM interface: its cmdlets go through WMI, and the text
# of schtasks.exe is localised.

function Open-WinScheduler {
    $scheduler = New-Object -ComObject 'Schedule.Service'
    [void] $scheduler.Connect()
    $scheduler
}

function Open-WinTask {
    param([string] $Name)
    (Open-WinScheduler).GetFolder($TaskFolder).GetTask($Name)
}

# Whether it is enabled and what it starts; $null where it is not there. One that this user may not read
# (0x80070005) is there, and is none that an install left.
function Get-WinTask {
    param([string] $Name)
    try {
        $task = Open-WinTask -Name $Name
        $action = $task.Definition.Actions.Item(1)
        @{
            Enabled = [bool] $task.Enabled; Program = [string] $action.Path
            Arguments = [string] $action.Arguments
        }
    } catch {
        if (Test-Absence -Failure $_) { return $null }
        if ((Get-FailureNumber -Failure $_) -cne '0x80070005') { throw }
        @{ Enabled = $false; Program = ''; Arguments = '' }
    }
}

# What it does now (2 waits, 3 ready, 4 runs), when it ran last (to the second), and how that ended.
function Get-WinTaskRun {
    param([string] $Name)
    $task = Open-WinTask -Name $Name
    @{ State = [int] $task.State; Time = $task.LastRunTime; Result = '0x{0:x8}' -f [int] $task.LastTaskResult }
}

# 4: the list of rights alone, without the owner.
function Get-WinTaskRights {
    param([string] $Name)
    [string] (Open-WinTask -Name $Name).GetSecurityDescriptor(4)
}

function Start-WinTask {
    param([string] $Name)
    [void] (Open-WinTask -Name $Name).Run($null)
}

# Asks for a run as another user than the task's own (8, TASK_RUN_USER_SID); what Windows
# answers, 0 where it does that.
function Start-WinTaskAs {
    param([string] $Name, [string] $Sid)
    try {
        [void] (Open-WinTask -Name $Name).RunEx($null, 8, 0, $Sid)
        '0x00000000'
    } catch {
        Get-FailureNumber -Failure $_
    }
}

# From the start to the end of one run, in milliseconds; at most 20 s.
function Measure-WinTask {
    param([string] $Name)
    $clock = New-WinClock
    $task = Open-WinTask -Name $Name
    $before = $task.LastRunTime
    [void] $task.Run($null)
    while ($clock.ElapsedMilliseconds -lt 20000) {
        Wait-Win -Milliseconds 50
        # 3: ready again. The last run's time has whole seconds: a run in the same one as
        # that before it cannot be seen by it.
        if (($task.State -eq 3) -and (($task.LastRunTime -gt $before) -or ($clock.ElapsedMilliseconds -ge 3000))) { break }
    }
    [int] $clock.ElapsedMilliseconds
}

# $null where the folder is not there. Whatever else fails throws: taken for an absent
# folder, an uninstall would say that it removed tasks that still exist.
function Open-WinTaskFolder {
    $scheduler = Open-WinScheduler
    try {
        $scheduler.GetFolder($TaskFolder)
    } catch {
        if (-not (Test-Absence -Failure $_)) { throw }
        $null
    }
}

# The list, because asking for a task by name fails alike where it is not there and
# where something is wrong. 1: hidden ones too.
function Find-WinTask {
    param($Folder, [string] $Name)
    if ($null -eq $Folder) { return }
    foreach ($task in @($Folder.GetTasks(1))) {
        if ([string] $task.Name -ceq $Name) { $task }
    }
}

# A folder of this name may be another program's: it gets our rights in any case.
function Set-WinTaskFolder {
    $folder = Open-WinTaskFolder
    if ($null -eq $folder) {
        [void] (Open-WinScheduler).GetFolder('\').CreateFolder($TaskFolder.TrimStart('\'), $TaskFolderSecurity)
    } else {
        [void] $folder.SetSecurityDescriptor($TaskFolderSecurity, 0)
    }
}

# Made anew and not updated, so that a task of this name that another program made keeps neither its owner nor
# its rights. Flags: create (2), and no rights for the principal beyond those that are given (16). The XML says as
# whom it runs: no user, and no kind of logon (0), beside it.
function Set-WinTask {
    param([string] $Name, [string] $Xml, [string] $Security)
    Remove-WinTask -Name $Name
    [void] (Open-WinTaskFolder).RegisterTask($Name, $Xml, 18, $null, $null, 0, $Security)
}

# 4: an instance of it runs (TASK_STATE_RUNNING).
function Test-WinTaskRuns {
    param([string] $Name)
    @(Find-WinTask -Folder (Open-WinTaskFolder) -Name $Name | Where-Object { [int] $_.State -eq 4 }).Count -gt 0
}

function Remove-WinTask {
    param([string] $Name)
    $folder = Open-WinTaskFolder
    foreach ($task in @(Find-WinTask -Folder $folder -Name $Name)) {
        [void] $task.Stop(0)
        [void] $folder.DeleteTask($Name, 0)
    }
}

# Only when it is empty.
function Remove-WinTaskFolder {
    $folder = Open-WinTaskFolder
    if (($null -ne $folder) -and ($folder.GetTasks(1).Count -eq 0) -and ($folder.GetFolders(0).Count -eq 0)) {
        [void] (Open-WinScheduler).GetFolder('\').DeleteFolder($TaskFolder.TrimStart('\'), 0)
    }
}
