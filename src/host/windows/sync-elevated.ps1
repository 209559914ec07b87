# What an elevated run does. The lock is the caller's.

# Ledger, rules, ledger: in this order a run that is killed leaves no rule that
# its owner no longer knows. Returns the answer, and the rules of ours that stand.
function Update-Table {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Table, [string] $Sid)
    $plan = $Table.Plan
    $script:Step = 'write the ledger before the rules'
    Set-LedgerValues -Sid $Sid -Old $Table.Ledger -New $plan.Before
    $read = $Table.Rules
    if ($plan.Changes -gt 0) {
        $script:Step = 'run netsh'
        Invoke-NetshScript -Lines @(Get-NetshLines -Plan $plan -Wanted $Wanted) -Sid $Sid
        $script:Step = 'read the rules back'
        $read = Select-Listeners -Values (Get-PortProxyValues)
    }
    $owned = Select-Owned -Rules $read -Ledger $plan.Before
    $script:Step = 'write the ledger after the rules'
    Set-LedgerValues -Sid $Sid -Old $plan.Before -New (Get-LedgerAfter -Owned $owned)
    @{ Answer = New-WrittenAnswer -Wanted $Wanted -Plan $plan -Rules $read -Owned $owned; Owned = $owned }
}

# Ports that somebody else has are found before the rules are made: the port proxy
# says nothing when it cannot listen.
function Sync-Table {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid)
    $table = Read-Table -Wanted $Wanted -Sid $Sid
    $script:Step = 'ask for the service iphlpsvc'
    if ((($Wanted.Count -gt 0) -or ($table.Plan.Changes -gt 0)) -and (-not (Test-ProxyService))) {
        $answer = New-StandingAnswer -State 'service-stopped' -Detail $null -Plan $table.Plan -Rules $table.Rules
        return @{ Answer = $answer; Owned = $table.Plan.Owned; Taken = @() }
    }
    $script:Step = 'try the ports'
    $taken = @(Find-Taken -Plan $table.Plan)
    $left = $Wanted
    if ($taken.Count -gt 0) {
        $left = Remove-Taken -Wanted $Wanted -Taken $taken
        $table.Plan = New-Plan -Wanted $left -Rules $table.Rules -Ledger $table.Ledger
    }
    $result = Update-Table -Wanted $left -Table $table -Sid $Sid
    @{ Answer = $result.Answer; Owned = $result.Owned; Taken = $taken }
}

# Table first, then the firewall, whose failure is its own; last the names of those
# who hold our ports, which WMI tells: where that hangs the forwards are made, and it is
# given up soon.
function Sync-Forwards {
    param([object[]] $Forwards, $Guest, [string] $Sid, [int] $Profiles)
    $wanted = Get-Wanted -Forwards $Forwards -Guest $Guest
    $result = Sync-Table -Wanted $wanted -Sid $Sid
    $answer = $result.Answer
    $answer['elevated'] = $true
    $answer['firewall'] = Sync-Firewall -Forwards $Forwards -Owned $result.Owned -Sid $Sid -Profiles $Profiles
    $answer['taken'] = @(Add-Owners -Taken $result.Taken)
    $answer
}
