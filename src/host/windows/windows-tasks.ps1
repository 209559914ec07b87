# What the task scheduler has of ours.

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
