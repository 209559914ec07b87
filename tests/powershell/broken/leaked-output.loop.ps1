Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
$list = New-Object System.Collections.ArrayList
foreach ($x in @(1, 2)) {
    $list.Add($x)
}
