#Requires -Version 5.1
# Runs the tests of the scripts in src/host/windows with any PowerShell from 5.1 on:
#   powershell.exe -NoProfile -ExecutionPolicy Bypass -File tests\windows\run.ps1
# The exit code is the number of tests that failed. Nothing of the machine is touched
# but one file in the folder for temporary files: each script is put together there.
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
$script:World = @{}
$modules = $env:PSModulePath
try {
    foreach ($file in [System.IO.Directory]::GetFiles($PSScriptRoot, '*.Tests.ps1')) {
        $test = [System.IO.Path]::GetFileName($file)
        Write-Host $test
        # Forward-Firewall.Tests.ps1 is about forward.ps1.
        $path = [System.IO.Path]::Combine([System.IO.Path]::GetTempPath(), [System.IO.Path]::GetRandomFileName() + '.ps1')
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
        try {
            & $body
        } finally {
            [System.IO.File]::Delete($path)
        }
    }
} finally {
    $env:PSModulePath = $modules
}
Write-Host ('{0} passed, {1} failed' -f $script:Passed, $script:Failed)
exit $script:Failed
