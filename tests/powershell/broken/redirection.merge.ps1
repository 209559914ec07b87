Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    $netsh = 'netsh.exe'
    & $netsh 2>&1 | Out-Null
}
Write-WinOutput
