# ---- Windows ---------------------------------------------------------------
# Who runs this, and what it reads and writes.

function Read-StandardInput {
    $encoding = New-Object System.Text.UTF8Encoding($false)
    $reader = New-Object System.IO.StreamReader([Console]::OpenStandardInput(), $encoding)
    $reader.ReadToEnd()
}

function Write-Answer {
    param([string] $Text)
    try {
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    } catch {
        # Refused where no console is attached; the text is ASCII in any case.
        $null = $_
    }
    [Console]::Out.Write($Text + "`n")
    [Console]::Out.Flush()
}

# The group is asked for by its well-known number, so its localised name is no matter.
function Get-Caller {
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object System.Security.Principal.WindowsPrincipal($identity)
    @{
        Sid = [string] $identity.User.Value
        Elevated = [bool] $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)
    }
}

# Waits 5 s of the 15 s that the agent waits for the whole call: starting PowerShell
# and writing the rules need the rest. Any program may make something of this name,
# without rights and of another kind or with an access list that keeps us out.
function Enter-SyncLock {
    $name = 'Global\wslmesh-portproxy'
    $causes = 'another sync still runs, or another program holds the name ' + $name
    try {
        $mutex = New-Object System.Threading.Mutex($false, $name)
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

function Exit-SyncLock {
    param([System.Threading.Mutex] $Lock)
    $Lock.ReleaseMutex()
    $Lock.Dispose()
}
