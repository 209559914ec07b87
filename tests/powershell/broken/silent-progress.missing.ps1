Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
