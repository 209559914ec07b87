Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
$ip = '192.0.2.1'
$port = 22
Write-Output "$ip:$port"
