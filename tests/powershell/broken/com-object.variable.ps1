Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    $name = 'HNetCfg.FWRule'
    $x = New-Object -ComObject $name
    Write-Output $x
}
Write-WinOutput
