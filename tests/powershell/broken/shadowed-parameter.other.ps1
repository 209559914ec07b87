Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
function Get-A {
    param([int] $Port, [object[]] $Ports)
    foreach ($port in $Ports) {
        Write-Output $port
    }
}
Get-A -Port 1 -Ports @(1)
