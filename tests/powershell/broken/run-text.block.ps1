Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
$block = [scriptblock]::Create('Write-Output 1')
& $block
