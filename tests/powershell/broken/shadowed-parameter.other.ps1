Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
function Get-A {
    param([int] $Port, [object[]] $Ports)
    foreach ($port in $Ports) {
        Write-Output $port
    }
}
Get-A -Port 1 -Ports @(1)
