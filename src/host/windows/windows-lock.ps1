# Locks.

# Waits 5 s of the 15 s that the agent waits for the whole call: starting PowerShell
# and writing the rules need the rest. Any program may make something of this name,
# without rights and of another kind or with an access list that keeps us out.
function Enter-Lock {
    param([string] $Name)
    $causes = 'another sync still runs, or another program holds the name ' + $Name
    try {
        $mutex = New-Object System.Threading.Mutex($false, $Name)
    } catch {
        throw ('{0} ({1})' -f $causes, $_.Exception.Message)
    }
    try {
        $taken = $mutex.WaitOne(5000)
    } catch [System.Threading.AbandonedMutexException] {
        # The holder was killed. The lock is ours, and the ledger knows what it had done.
        $taken = $true
    }
    if (-not $taken) {
        $mutex.Dispose()
        throw ($causes + ' (waited 5 s)')
    }
    $mutex
}

# A lock of either kind: a file is free when it is closed.
function Exit-Lock {
    param($Lock)
    if ($Lock -is [System.Threading.Mutex]) {
        $Lock.ReleaseMutex()
    }
    $Lock.Dispose()
}
