Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Write-Output $env:TEMP
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
