Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
function Get-A {
    $mine = 1
    Get-B
    Write-Output $mine
}
function Get-B {
    Write-Output $mine
}
Get-A
