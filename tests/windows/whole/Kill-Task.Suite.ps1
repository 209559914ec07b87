# The task is ended at each call of Windows that it makes while it removes, changes and adds forwards.
# The next run puts all right: no orphan, no stranger's rule lost.

New-World
Install-Whole
# 0.0.0.0/2201 will go, 2202 lead elsewhere, 2203 stay, 2204 come. The policy's rule and the machine's two stay.
Write-Selection -Entries '[6,2201,22,1],[6,2202,22,1],[6,2203,22,1]'
[void] (Invoke-ForwardTask)
$Prepared = $World
$Foreign = Get-ForeignText
$Wanted = '[6,2202,23,1],[6,2203,22,1],[6,2204,22,1]'
$Rules = '0.0.0.0/2202=172.28.16.5/23 0.0.0.0/2203=172.28.16.5/22 0.0.0.0/2204=172.28.16.5/22'

for ($point = 1 + $Part * $Every; $true; $point += $Parts * $Every) {
    Copy-World -From $Prepared
    Set-Switch -Name 'kill' -Text "task $point"
    Write-Selection -Entries $Wanted
    $last = Invoke-ForwardTask
    if (Test-Switch -Name 'kill') { break }
    Test-Case -Name "the task ended at call $point" -Body {
        # It may have written its answer, but it cannot have come to its own end.
        $null = $last
        $answer = Invoke-ForwardTask
        Assert-Equal -Expected 'synced' -Found $answer['state']
        Assert-Equal -Expected 'done' -Found $answer['firewall']['state']
        Assert-Equal -Expected $Rules -Found (Get-ProxyText)
        Assert-Equal -Expected 6 -Found @(Get-OwnRules).Count
        Assert-Whole -Foreign $Foreign
    }
    Remove-World
}
Test-Case -Name 'there were points of failure' -Body {
    Assert-True -Found ($point -gt 20) -What "$point"
    Assert-Equal -Expected 'synced' -Found $last['state']
    Assert-Whole -Foreign $Foreign
}
