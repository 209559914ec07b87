Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
function Get-A {
    param([string] $Text)
    Write-Output $Text
}
Get-A -Txet 'x'
