Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    if ((Get-Service -Name 'x' | Sort-Object).Length -eq 0) { Write-Output 'none' }
}
Write-WinOutput
