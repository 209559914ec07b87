# The ledger.

function Get-LedgerValues {
    param([string] $Sid)
    Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid + '\ledger')
}
