# ---- Order of events -------------------------------------------------------

# Where our rules stand, and what would have to change.
function Read-Table {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid)
    $script:Step = 'read the rules'
    $rules = Select-Listeners -Values (Get-PortProxyValues)
    $script:Step = 'read the ledger'
    $ledger = Select-Ledger -Values (Get-LedgerValues -Sid $Sid)
    @{ Rules = $rules; Ledger = $ledger; Plan = New-Plan -Wanted $Wanted -Rules $rules -Ledger $ledger }
}
