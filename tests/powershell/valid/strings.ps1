Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
$ip = '192.0.2.1'
$port = 22
Write-Output "${ip}:$port"
Write-Output "a price of `$ip:22 and `"quotes`""
Write-Output "$script:Step $env:PSModulePath"
Write-Output "$ip. A sentence ends; $port, $($ip):$port"
Write-Output '$ip:$port and $ip.Name && ?? iex'
Write-Output ('{0}:{1}' -f $ip, $port)
$script:Step = "`r`n"
