# suite.ps1 NAME PART/PARTS: one suite in a process of its own; the runner starts it. Its last line has the counts.
param([string] $Name, [string] $Share, [string] $Double, [string] $Stage, [string] $Folder, [int] $Every)

. (Join-Path -Path $PSScriptRoot -ChildPath '../assert.ps1')
. (Join-Path -Path $PSScriptRoot -ChildPath 'whole.ps1')
$Part, $Parts = $Share.Split('/') | ForEach-Object { [int] $_ }
$script:Passed = 0
$script:Failed = 0
$script:NotRun = 0
$script:LastAnswer = ''
. (Join-Path -Path $PSScriptRoot -ChildPath "$Name.Suite.ps1")
Write-Host ('counts {0} {1} {2}' -f $script:Passed, $script:Failed, $script:NotRun)
