# Taking back what the ledger says is ours.

# Rules of the port proxy that are ours and stand.
function Find-Standing {
    param([string] $Sid)
    $ledger = Select-Ledger -Values (Get-LedgerValues -Sid $Sid)
    $rules = Select-Listeners -Values (Get-PortProxyValues)
    @((Select-Owned -Rules $rules -Ledger $ledger).Keys)
}

# A sync with nothing asked for: what makes the rules also takes them away. Where that
# did not do it (netsh needs a service that may be off) the values themselves go: that
# service reads them when it starts.
function Remove-Rules {
    param([string] $Sid)
    $before = @(Find-Standing -Sid $Sid)
    $answer = Sync-Forwards -Forwards @() -Guest $null -Sid $Sid -Profiles 0
    $left = @(Find-Standing -Sid $Sid)
    if ($left.Count -gt 0) {
        Remove-PortProxyValues -Names $left
        if (@(Find-Standing -Sid $Sid).Count -gt 0) {
            throw ('port forwards that still stand: {0} ({1})' -f $left.Count, $answer['detail'])
        }
    }
    if ($answer['firewall']['state'] -ceq 'failed') {
        throw ('firewall: {0}' -f $answer['firewall']['detail'])
    }
    'port forwards removed: {0}, firewall rules removed: {1}' -f $before.Count, $answer['firewall']['removed']
}

# Rules that are on record and that could still be there. A guest's firewall that this
# Windows does not have holds none.
function Get-OpenEntries {
    param([hashtable] $Rules, [hashtable] $Ledger, [bool] $HyperV)
    $owned = Select-Owned -Rules (Select-Listeners -Values $Rules) -Ledger (Select-Ledger -Values $Ledger)
    foreach ($listener in $owned.Keys) {
        'tcp/' + $listener
    }
    foreach ($name in $Ledger.Keys) {
        if (($name -clike 'firewall/*') -and ($HyperV -or ($Ledger[$name] -cne 'hyper-v'))) {
            $name
        }
    }
}

# The ledger goes last, and only when nothing is left that it alone knows as ours.
function Remove-Registry {
    param([string] $Sid)
    Remove-RegistryText -Path ('SOFTWARE\wslmesh\' + $Sid) -Name 'policy'
    $open = @(Get-OpenEntries -Rules (Get-PortProxyValues) -Ledger (Get-LedgerValues -Sid $Sid) -HyperV (Test-HyperVFirewall))
    if ($open.Count -gt 0) {
        throw ('the ledger stays, because of rules that could not be removed: {0}' -f $open.Count)
    }
    Remove-RegistryTree -Sid $Sid
    'policy and ledger removed'
}
