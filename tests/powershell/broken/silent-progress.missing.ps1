Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
