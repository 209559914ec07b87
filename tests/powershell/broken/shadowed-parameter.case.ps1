Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
function Get-A {
    param([string] $Text)
    foreach ($text in $Text.Split(',')) {
        Write-Output $text.Length
    }
}
Get-A -Text 'a'
