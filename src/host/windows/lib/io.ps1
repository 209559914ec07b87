# Input and output, locks, the clock, programs and commands with a limit, and the start.

# Windows PowerShell 5.1 runs this file. Nothing here may use the automatic variable for pipeline input:
# merely naming it makes 5.1 swallow standard input before the first line runs.
#
# Order of the file: what is this script's own, then what scripts share, by subject, last
# the line that starts it. Whatever is asked of Windows goes through functions whose noun
# begins with "Win"; nothing else names a type, a command or an object of Windows.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# The inherited path starts with a folder that the user's unelevated programs can
# write; an elevated run must not load a module from there.
$env:PSModulePath = $PSHOME + '\Modules'

$script:Step = 'start'

# What the number of a failure means, and what to do.
$KnownFailures = @{
    '0x80041315' = 'the service Schedule (Task Scheduler) is not running; start it'
    '0x80070002' = 'a file of wslmesh is missing; run "wslmesh host install" again'
    '0x80070003' = 'a folder of wslmesh is missing; run "wslmesh host install" again'
    '0x80070005' = 'Windows denies access to it; run "wslmesh host install" again'
    '0x80070020' = 'another program holds the file open; close it, or try again'
    '0x80070070' = 'the disk is full; make room on it'
    '0x800706d9' = 'a service of Windows is not running; start it (for the firewall: MpsSvc)'
}

function Get-FailureNumber {
    param($Failure)
    '0x{0:x8}' -f [int] $Failure.Exception.GetBaseException().HResult
}

# Whether a failure says that something is not there: a file (0x80070002) or what it lies in (0x80070003), for the
# task scheduler too. Any other failure says nothing of the kind.
function Test-Absence {
    param($Failure)
    @('0x80070002', '0x80070003') -ccontains (Get-FailureNumber -Failure $Failure)
}

# Whether another process has the file open (ERROR_SHARING_VIOLATION).
function Test-Shared {
    param($Failure)
    (Get-FailureNumber -Failure $Failure) -ceq '0x80070020'
}

# What a catch got, as a sentence. A text that this program threw says itself what to do. Whatever else it is,
# PowerShell wraps it into words of its own: the exception at the base is what happened.
function Format-Failure {
    param([string] $Step, $Failure)
    $cause = $Failure.Exception.GetBaseException()
    $ours = ($cause -is [System.IO.InvalidDataException]) -or ($cause -is [System.Security.Cryptography.CryptographicException])
    if ($ours -or (($cause -is [System.Management.Automation.RuntimeException]) -and $cause.WasThrownFromThrowStatement)) { return $cause.Message }
    $number = Get-FailureNumber -Failure $Failure
    $words = $cause.Message.TrimEnd('.')
    if ($KnownFailures.ContainsKey($number)) { $words = '{0} ({1})' -f $KnownFailures[$number], $number }
    'could not {0}: {1}' -f $Step, $words
}

# Runs a block, and again while it fails because another process has the file open, for this time.
function Invoke-WinShared {
    param([scriptblock] $Body, [int] $Milliseconds)
    $clock = New-WinClock
    while ($true) {
        try {
            return & $Body
        } catch {
            if (-not (Test-Shared -Failure $_) -or ($clock.ElapsedMilliseconds -ge $Milliseconds)) { throw }
        }
        Wait-Win -Milliseconds 75
    }
}

# One sync, install or uninstall at a time, whoever's rules it is about: they share one table. The lock is a
# file in a folder that administrators alone write, and no other process may open it meanwhile. The folder may
# be missing, or go while this waits: it is made, and Exit-SyncLock takes it away again where nothing needs it.
# Windows closes the file of a holder that is killed. 10 of the 25 s that the agent waits for the whole call:
# starting PowerShell and writing the rules need the rest.
function Enter-SyncLock {
    $folder = Get-InstalledFolder
    $file = $folder + '\sync.lock'
    try {
        Invoke-WinShared -Milliseconds 10000 -Body {
            try {
                New-WinFile -Path $file -Mode 'OpenOrCreate' -Security $OwnSecurity
            } catch {
                if (-not (Test-Absence -Failure $_)) { throw }
                Set-WinFolder -Path $folder -Security $ProgramSecurity
                New-WinFile -Path $file -Mode 'OpenOrCreate' -Security $OwnSecurity
            }
        }
    } catch {
        if (Test-Shared -Failure $_) { throw 'another sync, install or uninstall still runs (waited 10 s); try again' }
        throw
    }
}

function Exit-SyncLock {
    param($Lock)
    $folder = Get-InstalledFolder
    try {
        Remove-WinFile -Path ($folder + '\netsh.txt') -Tries 1
    } catch {
        # What a run that was killed left there is replaced by the next.
    }
    $Lock.Dispose()
    Remove-ProgramFolder -Path $folder
}

# Random, so that an answer to another request is not taken for ours.
function New-Ticket {
    Get-Random -Minimum 1 -Maximum 2147483647
}

# Constrained by a policy, no method can be called: said as command.ps1 says it. Write-Host, because what goes through
# the formatter may be wrapped.
function Assert-Language {
    param([int] $Code)
    $language = [string] $ExecutionContext.SessionState.LanguageMode
    if ($language -ceq 'FullLanguage') { return }
    Write-Host ('wslmesh ' + $language)
    exit $Code
}

function Write-WinOutput {
    param([string] $Text)
    try {
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    } catch {
        # Refused where no console is attached; the answers are ASCII in any case.
    }
    [Console]::Out.Write($Text)
    [Console]::Out.Flush()
}

# Standard input to its end, as bytes: what is left of the stream that the script itself came
# by, or all of it where the script is a file.
function Read-WinInput {
    param($Stream)
    if ($null -eq $Stream) { $Stream = [Console]::OpenStandardInput() }
    $bytes = New-Object System.IO.MemoryStream
    $Stream.CopyTo($bytes)
    @{ Bytes = $bytes.ToArray() }
}

# The group is asked for by its well-known number, so its localised name is no matter.
function Get-WinCaller {
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object System.Security.Principal.WindowsPrincipal($identity)
    @{
        Sid = [string] $identity.User.Value
        Elevated = [bool] $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)
    }
}

function New-WinClock {
    [System.Diagnostics.Stopwatch]::StartNew()
}

function Wait-Win {
    param([int] $Milliseconds)
    Start-Sleep -Milliseconds $Milliseconds
}

# Seconds since 1970.
function Get-WinTime {
    [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
}

# A command of Windows in a thread of its own: those that ask WMI may hang, and one
# that does is stopped and costs this time, not the whole answer. Its name is a word of
# this script. Opening a runspace puts the user's own folder of modules first again, for
# the whole process (seen with PowerShell 7): the path is set after it. Module: the one of Windows that has it, which
# is then imported by its path; '' to look for it. Absent: what was asked for is not there.
function Invoke-WinCommand {
    param([string] $Name, [hashtable] $Parameters, [int] $Seconds, [string] $Module)
    $runspace = [runspacefactory]::CreateRunspace()
    $runspace.Open()
    $env:PSModulePath = $PSHOME + '\Modules'
    $shell = [powershell]::Create()
    $shell.Runspace = $runspace
    # In the same pipeline, so that the time counts.
    if ($Module -cne '') { [void] $shell.AddCommand('Import-Module').AddParameter('Name', ('{0}\Modules\{1}\{1}.psd1' -f $PSHOME, $Module)).AddStatement() }
    [void] $shell.AddCommand($Name)
    foreach ($key in $Parameters.Keys) { [void] $shell.AddParameter($key, $Parameters[$key]) }
    $run = $shell.BeginInvoke()
    if (-not $run.AsyncWaitHandle.WaitOne([int] ($Seconds * 1000))) {
        # Not waited for: what hangs in WMI may not stop either.
        [void] $shell.BeginStop($null, $null)
        return @{ Items = @(); Problem = ('no answer within {0} s' -f $Seconds); Absent = $false }
    }
    try {
        $result = @{ Items = @($shell.EndInvoke($run)); Problem = $null; Absent = $false }
        foreach ($record in $shell.Streams.Error) {
            if ($null -ne $result.Problem) { continue }
            $result.Problem = Format-Failure -Step ('run ' + $Name) -Failure $record
            # The name of the enumeration's member is never localised.
            $result.Absent = ([string] $record.CategoryInfo.Category) -ceq 'ObjectNotFound'
        }
        if ($shell.HadErrors -and ($null -eq $result.Problem)) { $result.Problem = $Name + ' failed without a reason' }
        $result
    } catch {
        @{ Items = @(); Problem = Format-Failure -Step ('run ' + $Name) -Failure $_; Absent = $false }
    } finally {
        $shell.Dispose()
        $runspace.Dispose()
    }
}

# The number by which Windows says why a program did not start; 0 for another cause.
function Get-WinErrorCode {
    param([System.Exception] $Exception)
    $cause = $Exception.GetBaseException()
    if ($cause -is [System.ComponentModel.Win32Exception]) { return $cause.NativeErrorCode }
    0
}

# Hidden: no window, and nothing to read. What it prints is read while it runs, because
# a full pipe would stop it. Elsewhere it has a window of its own, and with the verb
# 'runas' Windows asks for administrator rights first: this call waits for that.
function Start-WinProgram {
    param([string] $Path, [string] $Arguments, [string] $Verb, [bool] $Hidden)
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $Path
    $start.Arguments = $Arguments
    $start.Verb = $Verb
    $start.WorkingDirectory = Get-KnownFolder -Name 'System'
    $start.UseShellExecute = -not $Hidden
    $start.CreateNoWindow = $Hidden
    $start.RedirectStandardInput = $Hidden
    $start.RedirectStandardOutput = $Hidden
    $start.RedirectStandardError = $Hidden
    $process = [System.Diagnostics.Process]::Start($start)
    $text = $null
    if ($Hidden) {
        $process.StandardInput.Close()
        $text = $process.StandardOutput.ReadToEndAsync()
        [void] $process.StandardError.ReadToEndAsync()
    }
    @{ Process = $process; Text = $text }
}

function Wait-WinProgram {
    param([hashtable] $Started, [long] $Milliseconds)
    if (-not $Started.Process.WaitForExit([int] [Math]::Max(1000, $Milliseconds))) { return @{ Ended = $false; Code = $null } }
    $code = $null
    try {
        $code = $Started.Process.ExitCode
    } catch {
        # That of a process of another rights' level is readable on Windows 10, and need not be elsewhere.
    }
    @{ Ended = $true; Code = $code }
}

# A hidden program from its start to its end; one that takes longer is ended, and waited
# for: it holds files open until then. Error: Windows' number where it did not start, or words.
function Invoke-WinProgram {
    param([string] $Path, [string] $Arguments, [int] $Seconds)
    $clock = New-WinClock
    $result = @{ Code = $null; Error = $null; Text = ''; Milliseconds = 0 }
    try {
        $started = Start-WinProgram -Path $Path -Arguments $Arguments -Verb '' -Hidden $true
    } catch {
        $result.Error = Get-WinErrorCode -Exception $_.Exception
        return $result
    }
    $run = Wait-WinProgram -Started $started -Milliseconds ($Seconds * 1000)
    if ($run.Ended) {
        $result.Code = $run.Code
        $result.Text = [string] $started.Text.Result
    } else {
        $result.Error = 'still running after {0} s' -f $Seconds
        $started.Process.Kill()
        [void] $started.Process.WaitForExit(3000)
    }
    $result.Milliseconds = $clock.ElapsedMilliseconds
    $result
}

# Ends programs of this name that run from this path.
function Stop-WinPrograms {
    param([string] $Name, [string] $Path)
    foreach ($process in [System.Diagnostics.Process]::GetProcessesByName($Name)) {
        try {
            if ($process.MainModule.FileName -eq $Path) {
                $process.Kill()
                [void] $process.WaitForExit(3000)
            }
        } catch {
            # It ended by itself, or is none of ours.
        }
    }
}

# A test reads this file with the dot operator, which starts nothing, and puts its own
# functions in the place of those that touch Windows.
if ($MyInvocation.InvocationName -cne '.') { Invoke-Script }
