# ---- Order of events -------------------------------------------------------

# Chooses what to do without administrator rights. Rules can be read and not
# written, so the answer says whether what stands is what is wanted.
function Get-UnelevatedAnswer {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Rules)
    if ($Plan.Changes -gt 0) {
        $detail = 'rules that would have to change: {0}' -f $Plan.Changes
        return New-StandingAnswer -State 'not-elevated' -Detail $detail -Plan $Plan -Rules $Rules
    }
    $script:Step = 'ask for the service iphlpsvc'
    if (($Wanted.Count -gt 0) -and (-not (Test-ProxyService))) {
        return New-StandingAnswer -State 'service-stopped' -Detail $null -Plan $Plan -Rules $Rules
    }
    New-StandingAnswer -State 'synced' -Detail $null -Plan $Plan -Rules $Rules
}

# Ledger, rules, ledger: in this order a run that is killed leaves no rule that
# its owner no longer knows.
function Get-ElevatedAnswer {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Rules, [hashtable] $Ledger, [string] $Sid)
    $script:Step = 'ask for the service iphlpsvc'
    if ((($Wanted.Count -gt 0) -or ($Plan.Changes -gt 0)) -and (-not (Test-ProxyService))) {
        return New-StandingAnswer -State 'service-stopped' -Detail $null -Plan $Plan -Rules $Rules
    }
    $script:Step = 'write the ledger before the rules'
    Set-LedgerValues -Sid $Sid -Old $Ledger -New $Plan.Before
    $read = $Rules
    if ($Plan.Changes -gt 0) {
        $script:Step = 'run netsh'
        Invoke-NetshScript -Lines @(Get-NetshLines -Plan $Plan -Wanted $Wanted)
        $script:Step = 'read the rules back'
        $read = Select-Listeners -Values (Get-PortProxyValues)
    }
    $owned = Select-Owned -Rules $read -Ledger $Plan.Before
    $script:Step = 'write the ledger after the rules'
    Set-LedgerValues -Sid $Sid -Old $Plan.Before -New (Get-LedgerAfter -Owned $owned)
    New-WrittenAnswer -Wanted $Wanted -Plan $Plan -Rules $read -Owned $owned
}

function Sync-Rules {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Caller)
    $script:Step = 'read the rules'
    $rules = Select-Listeners -Values (Get-PortProxyValues)
    $script:Step = 'read the ledger'
    $ledger = Select-Ledger -Values (Get-LedgerValues -Sid $Caller.Sid)
    $plan = New-Plan -Wanted $Wanted -Rules $rules -Ledger $ledger
    if (-not $Caller.Elevated) {
        return Get-UnelevatedAnswer -Wanted $Wanted -Plan $plan -Rules $rules
    }
    Get-ElevatedAnswer -Wanted $Wanted -Plan $plan -Rules $rules -Ledger $ledger -Sid $Caller.Sid
}

# An earlier call may still be at work after its agent gave up on it; the later
# request must be the one that stands at the end.
function Invoke-Sync {
    param([System.Collections.IDictionary] $Wanted)
    $script:Step = 'find out who runs this'
    $caller = Get-Caller
    if (-not $caller.Elevated) {
        return Sync-Rules -Wanted $Wanted -Caller $caller
    }
    $script:Step = 'wait for an earlier sync to end'
    $lock = Enter-SyncLock
    try {
        Sync-Rules -Wanted $Wanted -Caller $caller
    } finally {
        Exit-SyncLock -Lock $lock
    }
}

# The facts are extras: one that cannot be told is $null.
function Get-NetworkFacts {
    $facts = @{ Address = $null; Mtu = $null }
    try {
        $interfaces = @(Select-Connected -Interfaces @(Get-IPv4Interfaces))
        $facts.Mtu = Select-LowestMtu -Interfaces $interfaces
        $facts.Address = Select-DefaultAddress -Interfaces $interfaces
    } catch {
        # What has been found out until here stays.
        $null = $_
    }
    $facts
}

# The facts come before the rules: once rules are written, nothing but the answer
# may stand between the agent and knowing about them.
function Get-AnswerText {
    $facts = @{ Address = $null; Mtu = $null }
    try {
        $script:Step = 'read standard input'
        $text = Read-StandardInput
        $script:Step = 'check the request'
        $wanted = ConvertTo-Wanted -Text $text
        $script:Step = 'look at the network interfaces'
        $facts = Get-NetworkFacts
        $answer = Invoke-Sync -Wanted $wanted
    } catch [System.IO.InvalidDataException] {
        $answer = New-Answer -State 'invalid-request' -Detail $_.Exception.Message
    } catch {
        $answer = New-Answer -State 'failed' -Detail ('{0}: {1}' -f $script:Step, $_.Exception.Message)
    }
    $answer['windows-address'] = $facts.Address
    $answer['lowest-mtu'] = $facts.Mtu
    ConvertTo-AsciiJson -Answer $answer
}
