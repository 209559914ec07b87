# Words for how the task can fail to start or to answer.

# An error of Windows by its number, whose text is localised.
function ConvertTo-ErrorNumber {
    param([System.Exception] $Exception)
    '0x{0:x8}' -f [int] $Exception.GetBaseException().HResult
}

function Get-TaskProblem {
    param([string] $Number, [string] $Sid)
    $known = @{
        '0x80070002' = 'is missing; run "wslmesh host install" again'
        '0x80070003' = 'is missing; run "wslmesh host install" again'
        '0x80070005' = 'may not be started by this Windows user; run "wslmesh host install" again'
        '0x80041326' = 'is disabled; enable it in the Task Scheduler'
        '0x80041315' = 'cannot run: the service Schedule is not running'
    }
    $words = 'could not be started'
    if ($known.ContainsKey($Number)) {
        $words = $known[$Number]
    }
    'the task \wslmesh\forward-{0} {1} ({2})' -f $Sid, $words, $Number
}

# forward.ps1 ends with a number of its own where it cannot write an answer.
function Get-TimeoutDetail {
    param([string] $Result)
    $known = @{
        '0x00000001' = 'it failed: a policy of this machine forbids the script, or its folder cannot be written'
        '0x00000002' = 'its argument is no SID; run "wslmesh host install" again'
        '0x00000003' = 'a policy of this machine keeps PowerShell in constrained language mode'
        '0x00041301' = 'it is still running'
        '0x00041303' = 'it has never run'
        '0x00041325' = 'it is queued'
    }
    $words = 'it has not come to an end, or no reason is known'
    if ($known.ContainsKey($Result)) {
        $words = $known[$Result]
    }
    'the task gave no answer to this request within the time: {0} (last result {1})' -f $words, $Result
}

# The task's answer, with the fields that it knows.
function ConvertFrom-TaskAnswer {
    param([string] $Text)
    $told = ConvertFrom-Json -InputObject $Text
    $answer = New-Answer -State 'failed' -Detail $null
    foreach ($name in @('state', 'detail', 'added', 'removed', 'kept', 'firewall', 'guest-address')) {
        $answer[$name] = Get-Told -Told $told -Name $name
    }
    foreach ($name in @('rules', 'conflicts', 'taken', 'refused')) {
        $answer[$name] = @(Get-Told -Told $told -Name $name)
    }
    $answer
}

function Get-Told {
    param($Told, [string] $Name)
    $property = $Told.PSObject.Properties[$Name]
    if ($null -eq $property) {
        throw ('the answer of the task has no field "{0}"' -f $Name)
    }
    $property.Value
}
