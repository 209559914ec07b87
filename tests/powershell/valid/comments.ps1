Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
# && || ?? % iex $input "$ip:$port" Start-Process -EncodedCommand < >
<# a block: (Get-Service).Count
   try { } and 1 = $a #>
Write-Output 'comments are no code'
