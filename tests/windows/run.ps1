#Requires -Version 5.1
# Runs the tests of the scripts in src/host/windows with any PowerShell from 5.1 on:
#   powershell.exe -NoProfile -ExecutionPolicy Bypass -File tests\windows\run.ps1
#   pwsh tests/windows/run.ps1 -Whole
# With -Whole also the scripts from end to end on a double of Windows, which needs PowerShell 7 on
# Linux; -Only is the name of a suite (whole/*.Suite.ps1), -Every N takes each Nth point of failure.
# The exit code is the number of tests that failed, 255 for more. Nothing of the machine is touched
# but the folder for temporary files. Nothing is left there; what a run that was ended by force leaves, the next
# one removes.
param([switch] $Whole, [string] $Only = '*', [int] $Every = 1)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# The files of a script in their order, as src/host/scripts.rs has them.
function Read-Script {
    param([string] $Name)
    $root = [System.IO.Path]::Combine($PSScriptRoot, '..', '..', 'src', 'host')
    $text = [System.IO.File]::ReadAllText([System.IO.Path]::Combine($root, 'scripts.rs'))
    $list = [regex]::Match($text, 'const ' + $Name.ToUpperInvariant() + ': &str = script!\([^)]*')
    if (-not $list.Success) {
        throw ('scripts.rs has no script ' + $Name)
    }
    $parts = @(foreach ($file in [regex]::Matches($list.Value, '"(?<file>[a-z/]+)"')) {
        [System.IO.File]::ReadAllText([System.IO.Path]::Combine($root, 'windows', $file.Groups['file'].Value + '.ps1'))
    })
    ($parts -join "`n") + "`n"
}

$script:Passed = 0
$script:Failed = 0
$script:NotRun = 0
$script:World = @{}
$modules = $env:PSModulePath
$temporary = [System.IO.Path]::GetTempPath()
foreach ($left in [System.IO.Directory]::GetDirectories($temporary, 'windows-tests-*')) {
    $owner = [regex]::Match($left, '-(?<id>[0-9]{1,9})-[^-]+\z').Groups['id'].Value
    if (($owner -ceq '') -or ($null -ne (Get-Process -Id $owner -ErrorAction 'SilentlyContinue'))) { continue }
    try {
        [System.IO.Directory]::Delete($left, $true)
    } catch {
        # It is another account's, or its suites go on without the run that started them: the next time.
        Write-Host ('not removed: ' + $left)
    }
}
# With KEEP=1 it stays, under another name.
$kind = 'windows-tests'
if ($env:KEEP) { $kind = 'windows-kept' }
$folder = [System.IO.Path]::Combine($temporary, ('{0}-{1}-{2}' -f $kind, $PID, [System.IO.Path]::GetRandomFileName()))
[void] [System.IO.Directory]::CreateDirectory($folder)
try {
    foreach ($file in [System.IO.Directory]::GetFiles($PSScriptRoot, '*.Tests.ps1')) {
        $test = [System.IO.Path]::GetFileName($file)
        Write-Host $test
        # Forward-Firewall.Tests.ps1 is about forward.ps1.
        $path = [System.IO.Path]::Combine($folder, 'script.ps1')
        [System.IO.File]::WriteAllText($path, (Read-Script -Name ($test -split '[-.]')[0]))
        $assert = [System.IO.Path]::Combine($PSScriptRoot, 'assert.ps1')
        $world = [System.IO.Path]::Combine($PSScriptRoot, 'world.ps1')
        $task = [System.IO.Path]::Combine($PSScriptRoot, 'world-task.ps1')
        $firewall = [System.IO.Path]::Combine($PSScriptRoot, 'world-firewall.ps1')
        # A scope of its own: functions of one script are not seen by the next.
        $body = {
            . $path
            . $assert
            . $world
            . $task
            . $firewall
            . $file
        }
        & $body
    }
    $env:PSModulePath = $modules
    if ($Whole -and -not [System.IO.File]::Exists('/proc/self/status')) {
        Write-Host '  not run: the scripts whole: the double of Windows runs on Linux alone'
        $script:NotRun += 1
    } elseif ($Whole) {
        $suites = [System.IO.Path]::Combine($PSScriptRoot, 'whole', 'run.ps1')
        $counts = & $suites -Folder $folder -Only $Only -Every $Every
        $script:Passed += $counts['Passed']
        $script:Failed += $counts['Failed']
        $script:NotRun += $counts['NotRun']
    }
} finally {
    $env:PSModulePath = $modules
    if ($env:KEEP) { Write-Host ('kept: ' + $folder) } else { [System.IO.Directory]::Delete($folder, $true) }
}
Write-Host ('{0} passed, {1} failed, {2} not run' -f $script:Passed, $script:Failed, $script:NotRun)
if ($script:Failed -gt 255) { exit 255 }
exit $script:Failed
