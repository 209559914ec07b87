# Tasks, through the scheduler's COM interface.

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
