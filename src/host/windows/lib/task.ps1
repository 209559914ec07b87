# The two scheduled tasks of a Windows user, and a run of the one that makes forwards.

$TaskFolder = '\wslmesh'

# Program and arguments of each task. wslg.exe is wsl.exe without a console window
# (microsoft/WSL: WslgMain); it knows no --exec, a shell type of "none" is the same.
function Get-TaskActions {
    param([string] $Sid, [hashtable] $Places, [System.Collections.IDictionary] $Policy)
    $logon = @{
        Program = $Places.System + '\wsl.exe'
        Arguments = '-d {0} --exec sleep infinity' -f $Policy['distribution']
    }
    if ($Places.Windowless) {
        $logon = @{
            Program = $Places.Windowless
            Arguments = '-d {0} --shell-type none -- sleep infinity' -f $Policy['distribution']
        }
    }
    @{
        Forward = @{
            Program = $Places.System + '\WindowsPowerShell\v1.0\powershell.exe'
            Arguments = '-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "{0}\forward.ps1" -Sid {1}' -f $Places.Program, $Sid
        }
        Logon = $logon
    }
}

# The tasks as Windows' task scheduler takes them: the names of elements are those of its schema ([MS-TSCH] 2.5).
#
# Administrators and the system do everything, users see that the folder is there.
# Any user may make a folder of this name before us; hence an owner and a list of ours.
$TaskFolderSecurity = 'O:BAG:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;GRGX;;;BU)'

# The one right that the user gets on a task is to read it and to start it.
function Get-TaskSecurity {
    param([string] $Sid)
    'O:BAG:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;GRGX;;;{0})' -f $Sid
}

function ConvertTo-XmlText {
    param([string] $Text)
    $Text.Replace('&', '&amp;').Replace('<', '&lt;').Replace('>', '&gt;').Replace('"', '&quot;')
}

function New-TaskXml {
    param([string] $Description, [string] $Triggers, [string] $Principal, [string] $Instances, [string] $Limit, [hashtable] $Action, [string] $Folder)
    $lines = @(
        '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">'
        '<RegistrationInfo><Author>wslmesh</Author><Description>{0}</Description></RegistrationInfo>' -f (ConvertTo-XmlText -Text $Description)
        '<Triggers>{0}</Triggers>' -f $Triggers
        '<Principals><Principal id="Author">{0}</Principal></Principals>' -f $Principal
        '<Settings>'
        '<MultipleInstancesPolicy>{0}</MultipleInstancesPolicy>' -f $Instances
        '<DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>'
        '<StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>'
        '<AllowHardTerminate>true</AllowHardTerminate>'
        '<StartWhenAvailable>false</StartWhenAvailable>'
        '<RunOnlyIfNetworkAvailable>false</RunOnlyIfNetworkAvailable>'
        '<AllowStartOnDemand>true</AllowStartOnDemand>'
        '<Enabled>true</Enabled>'
        '<Hidden>false</Hidden>'
        '<RunOnlyIfIdle>false</RunOnlyIfIdle>'
        '<WakeToRun>false</WakeToRun>'
        '<ExecutionTimeLimit>{0}</ExecutionTimeLimit>' -f $Limit
        # 7, the default, is below what people's own programs run with.
        '<Priority>5</Priority>'
        '</Settings>'
        '<Actions Context="Author"><Exec>'
        '<Command>{0}</Command>' -f (ConvertTo-XmlText -Text $Action.Program)
        '<Arguments>{0}</Arguments>' -f (ConvertTo-XmlText -Text $Action.Arguments)
        '<WorkingDirectory>{0}</WorkingDirectory>' -f (ConvertTo-XmlText -Text $Folder)
        '</Exec></Actions>'
        '</Task>'
    )
    $lines -join "`r`n"
}

# SYSTEM runs it, so that an account without administrator rights can have it, and
# nothing in that account's environment reaches it.
function Get-ForwardTaskXml {
    param([string] $Sid, [hashtable] $Action, [hashtable] $Places)
    New-TaskXml -Description ('Makes the port forwards that were agreed to for ' + $Sid) -Triggers '' -Principal '<UserId>S-1-5-18</UserId><RunLevel>HighestAvailable</RunLevel>' -Instances 'Queue' -Limit 'PT1M' -Action $Action -Folder $Places.System
}

function Get-LogonTaskXml {
    param([string] $Sid, [hashtable] $Action, [hashtable] $Places)
    $trigger = '<LogonTrigger><Enabled>true</Enabled><UserId>{0}</UserId></LogonTrigger>' -f $Sid
    $principal = '<UserId>{0}</UserId><LogonType>InteractiveToken</LogonType><RunLevel>LeastPrivilege</RunLevel>' -f $Sid
    New-TaskXml -Description ('Starts the distribution and keeps it, for ' + $Sid) -Triggers $trigger -Principal $principal -Instances 'IgnoreNew' -Limit 'PT0S' -Action $Action -Folder $Places.System
}

# Whether a text is the task's answer to this ticket.
function Test-Ticket {
    param([string] $Text, [int] $Ticket)
    $Text.StartsWith(('{"version":1,"ticket":' + $Ticket + ','), [System.StringComparison]::Ordinal)
}

# The text of the answer with our ticket, or ''.
function Wait-Answer {
    param([string] $Sid, [int] $Ticket, $Clock)
    do {
        $text = Read-TaskAnswer -Sid $Sid
        if (Test-Ticket -Text $text -Ticket $Ticket) {
            return $text
        }
        Wait-Moment
    } while ($Clock.ElapsedMilliseconds -lt 10000)
    ''
}

# Random, so that an answer to somebody else is not taken for ours.
function New-Ticket {
    Get-Random -Minimum 1 -Maximum 2147483647
}

# Written over in place: the file may be all that the user can write there.
function Write-Selection {
    param([string] $Sid, [string] $Text)
    $path = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid, 'inbox', 'selection.json')
    $bytes = [System.Text.Encoding]::ASCII.GetBytes($Text)
    $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::OpenOrCreate, [System.IO.FileAccess]::Write, [System.IO.FileShare]::None)
    try {
        $stream.SetLength(0)
        $stream.Write($bytes, 0, $bytes.Length)
    } finally {
        $stream.Dispose()
    }
}

function Open-ForwardTask {
    param([string] $Sid)
    $service = New-Object -ComObject 'Schedule.Service'
    [void] $service.Connect()
    $folder = $service.GetFolder('\wslmesh')
    $folder.GetTask('forward-' + $Sid)
}

# By the objects and never by schtasks.exe, whose text is localised.
function Start-ForwardTask {
    param([string] $Sid)
    $task = Open-ForwardTask -Sid $Sid
    [void] $task.Run($null)
}

# The text of the last answer, or '' where there is none that can be read now: the
# task puts a new one in its place at any time.
function Read-TaskAnswer {
    param([string] $Sid)
    $path = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid, 'answer.json')
    $share = [System.IO.FileShare] 'ReadWrite, Delete'
    try {
        $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, $share)
        try {
            $reader = New-Object System.IO.StreamReader($stream, (New-Object System.Text.UTF8Encoding($false)))
            $reader.ReadToEnd()
        } finally {
            $stream.Dispose()
        }
    } catch {
        ''
    }
}

function New-Clock {
    [System.Diagnostics.Stopwatch]::StartNew()
}

function Wait-Moment {
    Start-Sleep -Milliseconds 75
}

# The task scheduler, through its COM interface: its cmdlets go through WMI.
function Connect-Scheduler {
    $scheduler = New-Object -ComObject 'Schedule.Service'
    [void] $scheduler.Connect()
    $scheduler
}

# One task: whether it is enabled and what it starts; $null where it is not there or
# not ours to see.
function Get-TaskFact {
    param($Folder, [string] $Name)
    try {
        $task = $Folder.GetTask($Name)
        $action = $task.Definition.Actions.Item(1)
        @{
            Enabled = [bool] $task.Enabled
            Program = [string] $action.Path
            Arguments = [string] $action.Arguments
        }
    } catch {
        $null
    }
}

function Get-TaskFacts {
    param([string] $Sid)
    $facts = @{ Forward = $null; Logon = $null }
    try {
        $folder = (Connect-Scheduler).GetFolder($TaskFolder)
    } catch {
        # No such folder.
        return $facts
    }
    $facts.Forward = Get-TaskFact -Folder $folder -Name ('forward-' + $Sid)
    $facts.Logon = Get-TaskFact -Folder $folder -Name ('logon-' + $Sid)
    $facts
}

# $null where the folder is not there.
function Get-TaskFolder {
    param($Scheduler)
    try {
        $Scheduler.GetFolder($TaskFolder)
    } catch {
        $null
    }
}

# A folder of this name may be somebody else's doing: it gets our rights in any case.
function Set-TaskFolder {
    $scheduler = Connect-Scheduler
    $folder = Get-TaskFolder -Scheduler $scheduler
    if ($null -eq $folder) {
        [void] $scheduler.GetFolder('\').CreateFolder($TaskFolder.TrimStart('\'), $TaskFolderSecurity)
    } else {
        [void] $folder.SetSecurityDescriptor($TaskFolderSecurity, 0)
    }
}

# Made anew and not updated, so that a task of this name that somebody else made keeps
# neither its owner nor its rights. Flags: create (2), and no rights for the principal
# beyond those that are given (16).
function Set-OwnTask {
    param([string] $Name, [string] $Xml, [string] $User, [int] $Logon, [string] $Security)
    Remove-OwnTask -Name $Name
    $folder = Get-TaskFolder -Scheduler (Connect-Scheduler)
    [void] $folder.RegisterTask($Name, $Xml, 18, $User, $null, $Logon, $Security)
}

# The list, because asking for a task by name fails alike where it is not there and
# where something is wrong. 1: hidden ones too.
function Select-OwnTask {
    param($Folder, [string] $Name)
    if ($null -eq $Folder) {
        return
    }
    foreach ($task in @($Folder.GetTasks(1))) {
        if ([string] $task.Name -ceq $Name) {
            $task
        }
    }
}

# 4: an instance of it runs (TASK_STATE_RUNNING).
function Test-TaskRuns {
    param([string] $Name)
    $folder = Get-TaskFolder -Scheduler (Connect-Scheduler)
    @(Select-OwnTask -Folder $folder -Name $Name | Where-Object { [int] $_.State -eq 4 }).Count -gt 0
}

function Start-OwnTask {
    param([string] $Name)
    $folder = Get-TaskFolder -Scheduler (Connect-Scheduler)
    foreach ($task in @(Select-OwnTask -Folder $folder -Name $Name)) {
        [void] $task.Run($null)
    }
}

function Remove-OwnTask {
    param([string] $Name)
    $folder = Get-TaskFolder -Scheduler (Connect-Scheduler)
    foreach ($task in @(Select-OwnTask -Folder $folder -Name $Name)) {
        [void] $task.Stop(0)
        [void] $folder.DeleteTask($Name, 0)
    }
}

function Remove-TaskFolder {
    $scheduler = Connect-Scheduler
    $folder = Get-TaskFolder -Scheduler $scheduler
    if ($null -eq $folder) {
        return
    }
    if (($folder.GetTasks(1).Count -eq 0) -and ($folder.GetFolders(0).Count -eq 0)) {
        [void] $scheduler.GetFolder('\').DeleteFolder($TaskFolder.TrimStart('\'), 0)
    }
}
