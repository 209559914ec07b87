Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
function Get-A {
    param($Items)
    $Items | ForEach-Object { if ($_ -gt 1) { return $_ } }
}
Get-A -Items @(1, 2)
