Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
function Get-A {
    param([string] $Text, [int] $Size)
    Write-Output $Text $Size
}
Get-A -Text 'x'
