Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
$ip = '192.0.2.1'
$port = 22
Write-Output "to $ip:22"
