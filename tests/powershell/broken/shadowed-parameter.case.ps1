Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
function Get-A {
    param([string] $Text)
    foreach ($text in $Text.Split(',')) {
        Write-Output $text.Length
    }
}
Get-A -Text 'a'
