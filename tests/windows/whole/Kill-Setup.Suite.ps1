# The elevated setup is ended at each call of Windows that it makes, while it installs and while it uninstalls.
# The same request afterwards puts all right.

New-World
$Fresh = $World
$Foreign = Get-ForeignText
Copy-World -From $Fresh
Install-Whole
Write-Selection -Entries '[6,2201,22,1]'
[void] (Invoke-ForwardTask)
$Installed = $World

# Installing: a sync works afterwards.
for ($point = 1 + $Part * $Every; $true; $point += $Parts * $Every) {
    Copy-World -From $Fresh
    Set-Switch -Name 'kill' -Text "setup $point"
    $first = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    if (Test-Switch -Name 'kill') { break }
    Test-Case -Name "the setup ended at call $point of an install" -Body {
        $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
        Assert-True -Found (@('installed', 'nothing-to-do') -ccontains $answer['state']) -What ('the second: {0}: {1}' -f $answer['state'], $answer['detail'])
        # The first says so where all was done but the writing of the result.
        if ($answer['state'] -ceq 'nothing-to-do') { Assert-Equal -Expected 'installed' -Found $first['state'] }
        Assert-Equal -Expected 2 -Found @(Get-Tasks).Count
        Write-Selection -Entries '[6,2201,22,1]'
        Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
        Assert-Whole -Foreign $Foreign
        $left = @(& find "$World/c" -name '*.new' -o -name '*.old-*' -o -name 'order.json')
        Assert-Equal -Expected '' -Found ($left -join ' ')
    }
    Remove-World
}
Test-Case -Name 'an install had points of failure' -Body {
    Assert-True -Found ($point -gt 20) -What "$point"
    Assert-Equal -Expected 'installed' -Found $first['state']
}

# Removing: nothing is left after a second time.
for ($point = 1 + $Part * $Every; $true; $point += $Parts * $Every) {
    Copy-World -From $Installed
    Set-Switch -Name 'kill' -Text "setup $point"
    $first = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
    if (Test-Switch -Name 'kill') { break }
    Test-Case -Name "the setup ended at call $point of an uninstall" -Body {
        $answer = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
        Assert-True -Found (@('removed', 'nothing-to-do') -ccontains $answer['state']) -What ('the second: {0}: {1}' -f $answer['state'], $answer['detail'])
        Assert-Clean -Foreign $Foreign
    }
    Remove-World
}
Test-Case -Name 'an uninstall had points of failure' -Body {
    Assert-True -Found ($point -gt 20) -What "$point"
    Assert-Clean -Foreign $Foreign
}
