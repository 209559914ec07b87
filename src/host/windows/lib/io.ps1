# The preamble, standard input and output, locks, the clock, commands with a limit, and
# the start.

# Windows PowerShell 5.1 runs this file. Nothing here may use the automatic
# variable for pipeline input: merely naming it makes 5.1 swallow standard input
# before the first line runs.
#
# Order of the file: what is this script's own, then what scripts share, by subject, last
# the line that starts it.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# The inherited path starts with a folder that the user's unelevated programs can
# write; an elevated run must not load a module from there.
$env:PSModulePath = $PSHOME + '\Modules'

$script:Step = 'start'

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

function Read-StandardInput {
    $encoding = New-Object System.Text.UTF8Encoding($false)
    $reader = New-Object System.IO.StreamReader([Console]::OpenStandardInput(), $encoding)
    $reader.ReadToEnd()
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

# One elevated sync at a time, whoever's rules it is about: they share one table.
#
# Where something is installed, a file in a folder that administrators alone write, which
# nobody else may open; elsewhere a name, which any program could hold.
function Enter-SyncLock {
    $folder = Get-InstalledFolder
    if ([System.IO.Directory]::Exists($folder)) {
        return Enter-FileLock -Path ([System.IO.Path]::Combine($folder, 'sync.lock'))
    }
    Enter-Lock -Name 'Global\wslmesh-portproxy'
}

# Waits as long as Enter-Lock does. Windows closes the file of a holder that is killed.
# 0x80070020: somebody has it open (ERROR_SHARING_VIOLATION).
function Enter-FileLock {
    param([string] $Path)
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $security = New-Object System.Security.AccessControl.FileSecurity
    $security.SetSecurityDescriptorSddlForm('O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)', $sections)
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try {
            return New-Object System.IO.FileStream($Path, [System.IO.FileMode]::OpenOrCreate,
                [System.Security.AccessControl.FileSystemRights]::Write, [System.IO.FileShare]::None,
                4096, [System.IO.FileOptions]::None, $security)
        } catch {
            $cause = $_.Exception.GetBaseException()
            if ([int] $cause.HResult -ne -2147024864) {
                throw ('the lock {0} cannot be taken ({1})' -f $Path, $cause.Message)
            }
        }
        if ($clock.ElapsedMilliseconds -ge 5000) {
            throw 'another sync still runs (waited 5 s)'
        }
        Start-Sleep -Milliseconds 100
    }
}

# A command of Windows in a thread of its own: those that ask WMI may hang, and one
# that does costs this time and not the whole answer. Its name is a word of this script.
function Invoke-Limited {
    param([string] $Name, [hashtable] $Parameters, [int] $Seconds)
    $shell = [powershell]::Create()
    [void] $shell.AddCommand($Name)
    foreach ($key in $Parameters.Keys) {
        [void] $shell.AddParameter($key, $Parameters[$key])
    }
    $run = $shell.BeginInvoke()
    if (-not $run.AsyncWaitHandle.WaitOne([int] ($Seconds * 1000))) {
        return @{ Items = @(); Problem = ('no answer within {0} s' -f $Seconds) }
    }
    try {
        @{ Items = @($shell.EndInvoke($run)); Problem = $null }
    } catch {
        @{ Items = @(); Problem = $_.Exception.Message }
    } finally {
        $shell.Dispose()
    }
}

function Get-UnixTime {
    [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
}

# A test reads this file with the dot operator, which starts nothing, and puts its own
# functions in the place of those that touch Windows.
if ($MyInvocation.InvocationName -cne '.') {
    Invoke-Script
}
