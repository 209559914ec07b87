# Writing to the ledger.

# Makes the ledger New where it was Old. 'tcp/' is written before 'pending/': a
# pending target that has become true must be on record before the next replaces it.
function Set-LedgerValues {
    param([string] $Sid, [hashtable] $Old, [hashtable] $New)
    $write = @($New.Keys | Where-Object { $Old[$_] -cne $New[$_] } | Sort-Object -Descending)
    $delete = @($Old.Keys | Where-Object { -not $New.ContainsKey($_) })
    if ($write.Count + $delete.Count -eq 0) {
        return
    }
    $machine = Open-LocalMachine
    try {
        $key = $machine.CreateSubKey('SOFTWARE\wslmesh\' + $Sid + '\ledger')
        try {
            foreach ($name in $write) {
                $key.SetValue($name, [string] $New[$name], [Microsoft.Win32.RegistryValueKind]::String)
            }
            foreach ($name in $delete) {
                $key.DeleteValue($name, $false)
            }
            # Ledger and rules lie in different hives: without this a power cut
            # could keep the rule and lose the line that says whose it is.
            $key.Flush()
        } finally {
            $key.Dispose()
        }
    } finally {
        $machine.Dispose()
    }
}
