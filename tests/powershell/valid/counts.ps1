Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    $a = @(Get-Service -Name 'x').Count
    $b = @(1) + @(2)
    $c = ($b).Count
    $d = ($b + @(3)).Count
    Write-Output ($a + $c + $d)
}
Write-WinOutput
