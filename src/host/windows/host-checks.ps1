# The checks, one after the other.

function Find-StartTimes {
    param([hashtable] $Caller, [bool] $Probe)
    $facts = [ordered] @{ 'powershell-until-now' = Get-AgeMilliseconds }
    $quick = $facts['powershell-until-now'] -lt 15000
    $tasks = Get-TaskFacts -Sid $Caller.Sid
    if ($Probe -and ($null -ne $tasks.Forward)) {
        $facts['task'] = Measure-Task -Sid $Caller.Sid
        $quick = $quick -and ($facts['task'] -lt 10000)
    }
    New-Finding -Result (Test-That -Value $quick) -Facts $facts
}

function Find-Session {
    param([hashtable] $Caller)
    New-Finding -Result (Test-That -Value ($Caller.Session -ne 0)) -Facts ([ordered] @{ 'session' = $Caller.Session; 'interactive' = Test-Interactive })
}

function Get-Finding {
    param([string] $Id, [hashtable] $Caller, [hashtable] $Places, [bool] $Probe)
    switch ($Id) {
        'T1' { return Find-GuestAddress -Sid $Caller.Sid }
        'T2' { return Find-GuestNetwork }
        'T3' { return Find-TableForm }
        'T4' { return Find-NetshErrors -Probe $Probe -Places $Places -Elevated $Caller.Elevated }
        'T5' { return Find-DynamicPorts }
        'T6' { return Find-Windowless -Places $Places }
        'T7' { return New-Finding -Result 'ok' -Facts (Measure-Firewall) }
        'T8' { return Find-GuestFirewall }
        'T9' { return Find-Task -Caller $Caller }
        'T10' { return Find-Account -Caller $Caller }
        'T11' { return Find-StartTimes -Caller $Caller -Probe $Probe }
        'T12' { return Find-Interfaces }
        'T13' { return Find-Policies -Caller $Caller }
        'T14' { return Find-WslRelay }
        'T15' { return Find-BindErrors -Probe $Probe }
        'T16' { return Find-Relay -Places $Places -Elevated $Caller.Elevated }
        'T17' { return Find-Session -Caller $Caller }
        default { return Find-ScratchRule -Caller $Caller -Probe $Probe }
    }
}

# One that throws is a finding like the others: the call behind it does not do here
# what it was taken for.
function Get-Checks {
    param([hashtable] $Caller, [hashtable] $Places, [bool] $Probe)
    foreach ($id in $CheckTitles.Keys) {
        try {
            $finding = Get-Finding -Id $id -Caller $Caller -Places $Places -Probe $Probe
        } catch {
            $finding = New-Finding -Result 'differs' -Facts ([ordered] @{ 'error' = $_.Exception.Message })
        }
        # The facts come from Windows: nothing of the account may come with them.
        $detail = (ConvertTo-AsciiJson -Answer $finding.Facts).Replace($Caller.Sid, 'USER')
        [ordered] @{ 'id' = $id; 'title' = $CheckTitles[$id]; 'result' = $finding.Result; 'detail' = $detail }
    }
}
