Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
# && || ?? % iex $input "$ip:$port" Start-Process -EncodedCommand < >
<# a block: (Get-Service).Count
   try { } and 1 = $a #>
Write-Output 'comments are no code'
