Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$a = Get-Service -Name 'x'
Write-Output $a
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
