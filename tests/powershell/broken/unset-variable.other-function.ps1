Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
function Get-A {
    $mine = 1
    Get-B
    Write-Output $mine
}
function Get-B {
    Write-Output $mine
}
Get-A
