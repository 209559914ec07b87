Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
$shared = 1
function Get-A {
    param([string] $Text, [object[]] $Items)
    $found = @{ Inner = $Text }
    foreach ($item in $Items) {
        $found['x'] = $item
    }
    $first, $second = $found, $shared
    $Items | Where-Object { $_ -gt 0 } | ForEach-Object { param($each) Write-Output $each }
    Write-Output $first.Inner $second
}
Get-A -Text 'x' -Items @(1, 2)
Get-A -items @() -text "a`tb"
$netsh = 'netsh.exe'
function Invoke-WinNetsh {
    & $netsh '-f' 'x' | Out-Null
}
Invoke-WinNetsh
if ((1 -lt 2) -and
    (2 -gt 1)) {
    [void] $shared.ToString()
}
