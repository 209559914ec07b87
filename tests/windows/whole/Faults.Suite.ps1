# Parts of Windows that do not do what they should: said in words of ours, within the time, with nothing lost.

New-World
$Fresh = $World
$Foreign = Get-ForeignText
Copy-World -From $Fresh
Install-Whole
$Installed = $World

function Test-Fault {
    param([string] $Name, [string] $From, [hashtable] $Switches, [scriptblock] $Steps)
    Copy-World -From $From
    foreach ($switch in $Switches.Keys) { Set-Switch -Name $switch -Text $Switches[$switch] }
    Test-Case -Name $Name -Body { & $Steps }
    Remove-World
}

Test-Fault -Name 'the port proxy does not listen: not synced' -From $Installed -Switches @{ 'proxy-deaf' = '1' } -Steps {
    Write-Selection -Entries '[6,2222,22,1]'
    $answer = Invoke-ForwardTask
    Assert-Equal -Expected 'partial' -Found $answer['state']
    Assert-True -Found ([string] $answer['detail'] -like '*2222*') -What $answer['detail']
    Assert-Whole -Foreign $Foreign
    Clear-Switch -Name 'proxy-deaf'
    Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
}

Test-Fault -Name 'a rule of ours was deleted by hand while its service still listens: made again' -From $Installed -Switches @{} -Steps {
    Write-Selection -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
    Edit-Store -Name 'registry' -Edit { param($root) (Find-Key -Root $root -Path $ProxyKey).Values.Remove('0.0.0.0/2222') }
    Set-Switch -Name 'proxy-stale' -Text '0.0.0.0/2222'
    $answer = Invoke-ForwardTask
    Assert-Equal -Expected 'synced' -Found $answer['state']
    Assert-Equal -Expected 0 -Found @($answer['taken']).Count
    Assert-Equal -Expected $SshRule -Found (Get-ProxyText)
    Assert-Whole -Foreign $Foreign
}

Test-Fault -Name 'a forward is withdrawn after its rule was deleted by hand: its port is closed' -From $Installed -Switches @{} -Steps {
    Write-Selection -Entries '[6,2222,22,1]'
    [void] (Invoke-ForwardTask)
    Edit-Store -Name 'registry' -Edit { param($root) (Find-Key -Root $root -Path $ProxyKey).Values.Remove('0.0.0.0/2222') }
    Set-Switch -Name 'proxy-stale' -Text '0.0.0.0/2222'
    Write-Selection -Entries ''
    Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
    Assert-Equal -Expected $false -Found (Test-Switch -Name 'proxy-stale')
    Assert-Equal -Expected '' -Found (Get-ProxyText)
    Assert-Whole -Foreign $Foreign
}

Test-Fault -Name 'an uninstall while the service still listens for a deleted rule' -From $Installed -Switches @{} -Steps {
    Write-Selection -Entries '[6,2222,22,1]'
    [void] (Invoke-ForwardTask)
    Edit-Store -Name 'registry' -Edit { param($root) (Find-Key -Root $root -Path $ProxyKey).Values.Remove('0.0.0.0/2222') }
    Set-Switch -Name 'proxy-stale' -Text '0.0.0.0/2222'
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
    # Either nothing listens any more, or it is said.
    Assert-True -Found ((-not (Test-Switch -Name 'proxy-stale')) -or ([string] $answer['detail'] -like '*2222*')) -What ('{0}: {1}' -f $answer['state'], $answer['detail'])
}

Test-Fault -Name 'netsh hangs: it is ended, and its file is gone' -From $Installed -Switches @{ 'slow-netsh' = '90000' } -Steps {
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    Write-Selection -Entries '[6,2222,22,1]'
    $answer = Invoke-ForwardTask
    Assert-True -Found ($clock.Elapsed.TotalSeconds -lt 60) -What ('{0:0} s' -f $clock.Elapsed.TotalSeconds)
    Assert-True -Found ($answer['state'] -cne 'synced') -What $answer['state']
    Assert-Equal -Expected '' -Found (@(& find "$World/c" -name 'netsh*.txt') -join ' ')
    Clear-Switch -Name 'slow-netsh'
    Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
    Assert-Whole -Foreign $Foreign
}

Test-Fault -Name 'a port that another program has: named, and the others are made' -From $Installed -Switches @{} -Steps {
    $listener = [System.Net.Sockets.TcpListener]::new([System.Net.IPAddress]::Any, 0)
    $listener.Start()
    try {
        $port = $listener.LocalEndpoint.Port
        # The policy as it is stored, with this port in it.
        Edit-Store -Name 'registry' -Edit {
            param($root)
            $value = (Find-Key -Root $root -Path "SOFTWARE/wslmesh/$User").Values['policy']
            $value.Text = $value.Text.Replace('"listen-ports":[2200,2299]', "`"listen-ports`":[2200,$port]")
        }
        Write-Selection -Entries "[6,2222,22,1],[6,$port,22,1]"
        $answer = Invoke-ForwardTask
        Assert-Equal -Expected $SshRule -Found (Get-ProxyText)
        Assert-Equal -Expected "$port in-use" -Found (@($answer['taken'] | ForEach-Object { '{0} {1}' -f $_['listen-port'], $_['kind'] }) -join ' ')
        Assert-Whole -Foreign $Foreign
    } finally {
        $listener.Stop()
    }
}

Test-Fault -Name 'a stranger has the port in the port proxy' -From $Installed -Switches @{} -Steps {
    Edit-Store -Name 'registry' -Edit { param($root) (Find-Key -Root $root -Path $ProxyKey).Values['0.0.0.0/2222'] = @{ Kind = 'String'; Text = '10.0.0.9/22' } }
    Write-Selection -Entries '[6,2222,22,1],[6,2223,22,1]'
    $answer = Invoke-ForwardTask
    Assert-Equal -Expected 1 -Found @($answer['conflicts']).Count
    Assert-Equal -Expected '0.0.0.0/2222=10.0.0.9/22 0.0.0.0/2223=172.28.16.5/22' -Found (Get-ProxyText)
    Write-Selection -Entries ''
    [void] (Invoke-ForwardTask)
    Assert-Equal -Expected '0.0.0.0/2222=10.0.0.9/22' -Found (Get-ProxyText)
}

Test-Fault -Name 'the guest has no address: what was withdrawn goes, the rest stays' -From $Installed -Switches @{} -Steps {
    Write-Selection -Entries '[6,2201,22,1],[6,2202,22,1],[6,2203,22,1]'
    [void] (Invoke-ForwardTask)
    Edit-Store -Name 'registry' -Edit {
        param($root)
        $root.Keys['HKU']['Keys'][$User]['Keys']['Software']['Keys']['Microsoft']['Keys']['Windows']['Keys']['CurrentVersion']['Keys']['Lxss']['Values'].Remove('NatIpAddress')
    }
    Write-Selection -Entries '[6,2202,22,1]'
    $answer = Invoke-ForwardTask
    Assert-Equal -Expected 'guest-address-unknown' -Found $answer['state']
    Assert-Equal -Expected '0.0.0.0/2202=172.28.16.5/22' -Found (Get-ProxyText)
    Assert-True -Found (@(Get-OwnRules | Where-Object { $_.Protocol -eq 17 }).Count -eq 1) -What 'the relay needs no address'
    Assert-Whole -Foreign $Foreign
}

Test-Fault -Name 'an account without a local folder' -From $Fresh -Switches @{ "localappdata-$User" = '' } -Steps {
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'failed' -Found $answer['state']
    Assert-True -Found (-not [System.IO.Directory]::Exists("$World/c/wslmesh")) -What 'nothing in the root of a drive'
    Assert-Clean -Foreign $Foreign
}

Test-Fault -Name 'a task that is started and never runs' -From $Installed -Switches @{ 'task-hold' = '1' } -Steps {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh)
    Assert-Equal -Expected 'task-timeout' -Found $answer['state']
    Assert-True -Found ([string] $answer['detail'] -notlike '*constrained*') -What $answer['detail']
}

Test-Fault -Name 'a second user: each has their own, and the first goes alone' -From $Installed -Switches @{ "name-$OtherUser" = 'DESKTOP\y'; "localappdata-$OtherUser" = 'C:\Users\y\AppData\Local' } -Steps {
    [void] [System.IO.Directory]::CreateDirectory("$World/c/Users/y/AppData/Local")
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token "sid=$OtherUser;elevated=1;admin=1;session=2"
    Assert-Equal -Expected 'installed' -Found $answer['state']
    Assert-Equal -Expected 4 -Found @(Get-Tasks).Count
    Write-Selection -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'removed' -Found $answer['state']
    Assert-Equal -Expected '' -Found (Get-ProxyText)
    Assert-Equal -Expected 2 -Found @(Get-Tasks).Count
    Assert-True -Found ([System.IO.File]::Exists("$World/c/Program Files/wslmesh/forward.ps1")) -What 'the program is still there'
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token "sid=$OtherUser;elevated=1;admin=1;session=2"
    Assert-Equal -Expected 'removed' -Found $answer['state']
    Assert-Clean -Foreign $Foreign
}
