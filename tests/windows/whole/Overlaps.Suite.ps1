# Calls at the same time: each gets an answer, the last request wins, and the state is whole.

New-World
$Fresh = $World
$Foreign = Get-ForeignText
Copy-World -From $Fresh
Install-Whole
$Installed = $World

function New-Sshs {
    param([int] $Count)
    @(for ($port = 2201; $port -lt 2201 + $Count; $port += 1) { New-Forward -Protocol 'tcp' -Port $port -Connect 22 -ServedBy 'portproxy' })
}

function Get-Ports {
    @([regex]::Matches((Get-ProxyText), '/(\d+)=') | ForEach-Object { $_.Groups[1].Value }) -join ' '
}

Test-Case -Name 'two syncs: the last one wins' -Body {
    Copy-World -From $Installed
    $first = Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards (New-Sshs -Count 3))
    Start-Sleep -Milliseconds 2500
    $second = Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards (New-Sshs -Count 1))
    $answers = @((Wait-Script -Run $first), (Wait-Script -Run $second))
    Assert-Equal -Expected 'synced' -Found $answers[1]['state']
    Assert-True -Found (@('synced', 'superseded') -ccontains $answers[0]['state']) -What ('the first: {0}: {1}' -f $answers[0]['state'], $answers[0]['detail'])
    Assert-Equal -Expected '2201' -Found (Get-Ports)
    Assert-Whole -Foreign $Foreign
    Remove-World
}

Test-Case -Name 'four syncs at once: one of them is what there is' -Body {
    Copy-World -From $Installed
    $runs = @(1..4 | ForEach-Object { Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards (New-Sshs -Count $_)) })
    $answers = @($runs | ForEach-Object { Wait-Script -Run $_ })
    $synced = @($answers | Where-Object { $_['state'] -ceq 'synced' })
    Assert-True -Found ($synced.Count -ge 1) -What 'one was served'
    foreach ($answer in $answers) {
        Assert-True -Found (@('synced', 'superseded', 'task-timeout') -ccontains $answer['state']) -What ('{0}: {1}' -f $answer['state'], $answer['detail'])
    }
    $count = @((Get-Ports).Split(' ')).Count
    Assert-True -Found (@($synced | Where-Object { $_['rules'].Count -eq $count }).Count -ge 1) -What "$count rules are what one of them asked for"
    Assert-Whole -Foreign $Foreign
    Remove-World
}

Test-Case -Name 'elevated without an install, twice at once' -Body {
    Copy-World -From $Fresh
    $runs = @(1..2 | ForEach-Object { Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards (New-Sshs -Count $_)) -Token $Elevated })
    $answers = @($runs | ForEach-Object { Wait-Script -Run $_ })
    Assert-True -Found (@($answers | Where-Object { $_['state'] -ceq 'synced' }).Count -ge 1) -What 'one was served'
    foreach ($answer in $answers) {
        # On a busy machine the other one may wait longer than it has time for.
        Assert-True -Found (($answer['state'] -ceq 'synced') -or ([string] $answer['detail'] -like '*another sync*')) -What ('{0}: {1}' -f $answer['state'], $answer['detail'])
    }
    Assert-Whole -Foreign $Foreign
    Remove-World
}

Test-Case -Name 'an elevated sync while something is being installed' -Body {
    Copy-World -From $Fresh
    $install = Start-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    Start-Sleep -Milliseconds 3500
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh) -Token $Elevated
    $installed = Wait-Script -Run $install
    Assert-True -Found (@('installed', 'failed') -ccontains $installed['state']) -What ('{0}: {1}' -f $installed['state'], $installed['detail'])
    Assert-True -Found ($null -ne $answer['state']) -What 'an answer'
    Assert-Whole -Foreign $Foreign
    Remove-World
}

Test-Case -Name 'an install during a sync' -Body {
    Copy-World -From $Installed
    $sync = Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh)
    Start-Sleep -Milliseconds 1500
    $script:Policy['logon'] = $false
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    $script:Policy['logon'] = $true
    Assert-Equal -Expected 'installed' -Found $answer['state']
    $answer = Wait-Script -Run $sync
    Assert-Equal -Expected 'synced' -Found ('{0}{1}' -f $answer['state'], $answer['detail'])
    Assert-Equal -Expected $SshRule -Found (Get-ProxyText)
    Assert-Whole -Foreign $Foreign
    Remove-World
}

Test-Case -Name 'two installs at once' -Body {
    Copy-World -From $Fresh
    Set-Switch -Name 'window-input' -Text "yes`n"
    $runs = @(1..2 | ForEach-Object { Start-Script -Name 'host.ps1' -Request (New-InstallRequest) })
    $states = @($runs | ForEach-Object { $a = Wait-Script -Run $_; '{0} {1}' -f $a['state'], $a['detail'] })
    Assert-True -Found (@($states | Where-Object { $_ -like 'installed*' }).Count -ge 1) -What ($states -join '; ')
    foreach ($state in $states) {
        Assert-True -Found ($state -notlike '*may be at work*') -What $state
    }
    Assert-Equal -Expected 2 -Found @(Get-Tasks).Count
    Assert-Equal -Expected '' -Found (@(& find "$World/c/Users" -ipath '*wslmesh*staging*' -type f) -join ' ')
    Remove-World
}

Test-Case -Name 'a sync during an uninstall' -Body {
    Copy-World -From $Installed
    Write-Selection -Entries '[6,2222,22,1]'
    [void] (Invoke-ForwardTask)
    $removal = Start-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
    Start-Sleep -Milliseconds 2000
    $sync = Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh)
    $removed = Wait-Script -Run $removal
    [void] (Wait-Script -Run $sync)
    if ($removed['state'] -cne 'removed') {
        # The sync had the lock, or a file open: said, and the next time does it.
        $removed = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
    }
    Assert-True -Found (@('removed', 'nothing-to-do') -ccontains $removed['state']) -What ('{0}: {1}' -f $removed['state'], $removed['detail'])
    Assert-Clean -Foreign $Foreign
    Remove-World
}
