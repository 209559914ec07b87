# Windows or the person says no: the state says which, in words of ours, and nothing is changed.

New-World
$Fresh = $World
$Foreign = Get-ForeignText
Copy-World -From $Fresh
Install-Whole
$Installed = $World

# A plain sentence, without PowerShell's own words; what Windows says may follow it.
function Assert-Words {
    param([System.Collections.IDictionary] $Answer)
    $detail = [string] $Answer['detail']
    Assert-True -Found ($detail.Length -gt 10) -What ('a detail for ' + $Answer['state'])
    foreach ($word in @('Exception calling', 'with "', 'At line', 'ScriptBlock', 'Cannot bind')) {
        Assert-True -Found (-not $detail.Contains($word)) -What ('a plain sentence: ' + $detail)
    }
}

function Assert-Install {
    param([string] $State, [string] $Words = '*')
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest)
    Assert-Equal -Expected $State -Found $answer['state']
    Assert-True -Found ([string] $answer['detail'] -like $Words) -What ('its detail: ' + $answer['detail'])
    Assert-Words -Answer $answer
    Assert-Equal -Expected $null -Found $answer['installed']
    Assert-Clean -Foreign $Foreign
}

# A case in a copy of a world.
function Test-Refusal {
    param([string] $Name, [string] $From, [hashtable] $Switches, [scriptblock] $Body)
    Copy-World -From $From
    foreach ($switch in $Switches.Keys) { Set-Switch -Name $switch -Text $Switches[$switch] }
    Test-Case -Name $Name -Body $Body
    Remove-World
}

Test-Refusal -Name 'the question is declined (1223)' -From $Fresh -Switches @{ 'uac' = 'no' } -Body { Assert-Install -State 'declined' }
Test-Refusal -Name 'a group policy (1260)' -From $Fresh -Switches @{ 'uac' = 'code:1260' } -Body { Assert-Install -State 'forbidden' -Words '*policy*1260*' }
Test-Refusal -Name 'code integrity (4551)' -From $Fresh -Switches @{ 'uac' = 'code:4551' } -Body { Assert-Install -State 'forbidden' -Words '*4551*' }
Test-Refusal -Name 'no in the window' -From $Fresh -Switches @{ 'window-input' = "no`n" } -Body { Assert-Install -State 'refused' }
Test-Refusal -Name 'the window is closed' -From $Fresh -Switches @{} -Body { Assert-Install -State 'refused' -Words '*closed*' }

Test-Refusal -Name 'another administrator says yes over the shoulder' -From $Fresh -Switches @{ 'uac' = $OtherUser; "name-$OtherUser" = 'DESKTOP\admin'; 'window-input' = "yes`n" } -Body {
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest)
    Assert-Equal -Expected 'installed True' -Found ('{0} {1}' -f $answer['state'], $answer['over-the-shoulder'])
    Write-Selection -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
    Assert-Whole -Foreign $Foreign
    $tasks = @(Get-Tasks | ForEach-Object { $_['User'] } | Sort-Object) -join ' '
    Assert-Equal -Expected "S-1-5-18 $User" -Found $tasks
}

# Before any script is called: what the command says in its place.
function Get-Forbidden {
    param([string] $Name)
    $ended = Wait-PowerShell -Run (Start-Script -Name $Name -Request (New-SyncRequest -Forwards $Ssh))
    Assert-Equal -Expected 0 -Found $ended.Code
    $ended.Text.Trim()
}

Test-Refusal -Name 'constrained language' -From $Fresh -Switches @{ 'language' = 'ConstrainedLanguage' } -Body {
    foreach ($name in @('host.ps1', 'refresh.ps1')) {
        Assert-True -Found ((Get-Forbidden -Name $name) -clike 'wslmesh ConstrainedLanguage *') -What $name
        $ended = Wait-PowerShell -Run (Start-Script -Name $name -Request (New-SyncRequest -Forwards $Ssh) -AsFile)
        Assert-Equal -Expected '0 wslmesh ConstrainedLanguage' -Found ('{0} {1}' -f $ended.Code, $ended.Text.Trim())
    }
    Assert-Clean -Foreign $Foreign
}

foreach ($kind in @('AllSigned', 'Restricted')) {
    Test-Refusal -Name "a group policy for scripts: $kind" -From $Fresh -Switches @{ 'script-policy' = $kind } -Body {
        Assert-True -Found ((Get-Forbidden -Name 'refresh.ps1') -clike "wslmesh FullLanguage MachinePolicy=$kind,*") -What 'said by the command'
        Assert-Equal -Expected 1 -Found (Wait-PowerShell -Run (Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest) -AsFile)).Code
        Assert-Clean -Foreign $Foreign
    }
}

Test-Refusal -Name 'a group policy for scripts: RemoteSigned refuses files of WSL alone' -From $Installed -Switches @{ 'script-policy' = 'RemoteSigned' } -Body {
    Assert-Equal -Expected 1 -Found (Wait-PowerShell -Run (Start-Script -Name 'refresh.ps1' -Request (New-SyncRequest) -AsFile)).Code
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh)
    Assert-Equal -Expected 'synced' -Found $answer['state']
    Assert-Whole -Foreign $Foreign
}

Test-Refusal -Name 'constrained language for the task alone' -From $Installed -Switches @{ 'language' = 'ConstrainedLanguage' } -Body {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh) -Language 'FullLanguage'
    Assert-True -Found (@('task-timeout', 'task-failed') -ccontains $answer['state']) -What $answer['state']
    Assert-True -Found ([string] $answer['detail'] -like '*constrained*') -What $answer['detail']
    Assert-Whole -Foreign $Foreign
}

Test-Refusal -Name 'the scheduler is stopped: a sync' -From $Installed -Switches @{ 'schedule' = 'Stopped' } -Body {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh)
    Assert-Equal -Expected 'task-failed' -Found $answer['state']
    Assert-Words -Answer $answer
    Assert-Whole -Foreign $Foreign
}

Test-Refusal -Name 'the scheduler is stopped: an uninstall does not say that it is done' -From $Installed -Switches @{ 'schedule' = 'Stopped' } -Body {
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'failed' -Found $answer['state']
    Assert-Words -Answer $answer
    Assert-Equal -Expected 2 -Found @(Get-Tasks).Count
    Clear-Switch -Name 'schedule'
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'removed' -Found $answer['state']
    Assert-Clean -Foreign $Foreign
}

Test-Refusal -Name 'the task is disabled' -From $Installed -Switches @{} -Body {
    Edit-Store -Name 'tasks' -Edit { param($table) foreach ($task in $table['Tasks']) { $task['Enabled'] = $false } }
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh)
    Assert-Equal -Expected 'task-failed' -Found $answer['state']
    Assert-True -Found ([string] $answer['detail'] -like '*disabled*') -What $answer['detail']
}

foreach ($class in @('HNetCfg.FwPolicy2', 'HNetCfg.FWRule')) {
    Test-Refusal -Name "COM class ${class}: the forward is made, and the firewall is named" -From $Installed -Switches @{ "refuse-$class" = '80040154' } -Body {
        Write-Selection -Entries '[6,2222,22,1]'
        $answer = Invoke-ForwardTask
        Assert-Equal -Expected $SshRule -Found (Get-ProxyText)
        Assert-Equal -Expected 'failed' -Found $answer['firewall']['state']
        Assert-Words -Answer $answer['firewall']
        Assert-Whole -Foreign $Foreign
        Clear-Switch -Name "refuse-$class"
        Assert-Equal -Expected 'done' -Found (Invoke-ForwardTask)['firewall']['state']
        Assert-Whole -Foreign $Foreign
    }
}

Test-Refusal -Name 'COM class Schedule.Service' -From $Fresh -Switches @{ 'refuse-Schedule.Service' = '80040154' } -Body {
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'failed' -Found $answer['state']
    Assert-Words -Answer $answer
}

Test-Refusal -Name 'the service IP Helper is stopped' -From $Installed -Switches @{ 'service-iphlpsvc' = 'Stopped' } -Body {
    Write-Selection -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'service-stopped' -Found (Invoke-ForwardTask)['state']
    Assert-Whole -Foreign $Foreign
}
