# netsh is ended before each of its lines, and PowerShell with it goes on; or both are ended.

New-World
Install-Whole
Write-Selection -Entries '[6,2201,22,1],[6,2202,22,1]'
[void] (Invoke-ForwardTask)
$Prepared = $World
$Foreign = Get-ForeignText
$Wanted = '[6,2202,23,1],[6,2203,22,1],[6,2204,22,1]'
$Rules = '0.0.0.0/2202=172.28.16.5/23 0.0.0.0/2203=172.28.16.5/22 0.0.0.0/2204=172.28.16.5/22'

for ($line = 1; $true; $line += $Every) {
    Copy-World -From $Prepared
    Set-Switch -Name 'kill' -Text "netsh $line"
    Write-Selection -Entries $Wanted
    $first = Invoke-ForwardTask
    if (Test-Switch -Name 'kill') { break }
    Test-Case -Name "netsh ended before line $line" -Body {
        # The last line of its file is empty: all was done.
        $states = 'partial'
        if ((Get-ProxyText) -ceq $Rules) { $states = 'synced' }
        Assert-Equal -Expected $states -Found $first['state']
        Assert-Whole -Foreign $Foreign
        $answer = Invoke-ForwardTask
        Assert-Equal -Expected 'synced' -Found $answer['state']
        Assert-Equal -Expected $Rules -Found (Get-ProxyText)
        Assert-Whole -Foreign $Foreign
    }
    Remove-World
}
Test-Case -Name 'there were lines' -Body {
    Assert-True -Found ($line -gt 4) -What "$line"
}
