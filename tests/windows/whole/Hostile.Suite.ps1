# What a program of the user without rights can do: nothing of it gets past the policy or reaches other files.

New-World
$Fresh = $World
$Foreign = Get-ForeignText
Copy-World -From $Fresh
Install-Whole
$Installed = $World
$Inbox = "c/Program Files/wslmesh/$User/inbox"

# A case in a copy of the installed world. The next honest sync works.
function Test-Selection {
    param([string] $Name, [scriptblock] $Steps)
    Copy-World -From $Installed
    # Another name than that of Test-Case: a block sees the variables of whoever calls it.
    Test-Case -Name $Name -Body {
        & $Steps
        Assert-Whole -Foreign $Foreign
    }
    Remove-World
}

Test-Selection -Name 'entries outside the policy are refused one by one' -Steps {
    Write-Selection -Entries '[6,2222,22,1],[6,9999,22,1],[6,2222,99,1],[6,445,445,1]'
    $answer = Invoke-ForwardTask
    Assert-Equal -Expected $SshRule -Found (Get-ProxyText)
    Assert-Equal -Expected 3 -Found @($answer['refused']).Count
}

Test-Selection -Name 'a guest address outside WSL''s network' -Steps {
    foreach ($address in @('10.0.0.1', '127.0.0.1', '172.28.16.1', '172.28.31.255', '')) {
        Edit-Store -Name 'registry' -Edit {
            param($root)
            $root.Keys['HKU']['Keys'][$User]['Keys']['Software']['Keys']['Microsoft']['Keys']['Windows']['Keys']['CurrentVersion']['Keys']['Lxss']['Values']['NatIpAddress'] = @{ Kind = 'String'; Text = $address }
        }
        Write-Selection -Entries '[6,2222,22,1]'
        $answer = Invoke-ForwardTask
        Assert-True -Found ($answer['state'] -cne 'synced') -What ('{0}: {1}' -f $address, $answer['state'])
        Assert-Equal -Expected '' -Found (Get-ProxyText)
    }
}

Test-Selection -Name 'the selection is a link to another file' -Steps {
    [System.IO.File]::WriteAllText("$World/secret", '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]}')
    [System.IO.File]::Delete("$World/$Inbox/selection.json")
    & ln -s "$World/secret" "$World/$Inbox/selection.json"
    $answer = Invoke-ForwardTask
    Assert-Equal -Expected 'invalid-request' -Found $answer['state']
    Assert-Equal -Expected '' -Found (Get-ProxyText)
}

Test-Selection -Name 'the inbox is a link to another folder' -Steps {
    [System.IO.Directory]::Move("$World/$Inbox", "$World/elsewhere")
    & ln -s "$World/elsewhere" "$World/$Inbox"
    [System.IO.File]::WriteAllText("$World/elsewhere/selection.json", '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]}')
    Assert-True -Found ((Invoke-ForwardTask)['state'] -cne 'synced') -What 'not served'
    Assert-Equal -Expected '' -Found (Get-ProxyText)
}

Test-Selection -Name 'the selection is huge, empty, or no text' -Steps {
    foreach ($text in @(('x' * 70000), '', "`0`0`0", '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]}; calc')) {
        [System.IO.File]::WriteAllText("$World/$Inbox/selection.json", $text)
        Assert-Equal -Expected 'invalid-request' -Found (Invoke-ForwardTask)['state']
        Assert-Equal -Expected '' -Found (Get-ProxyText)
    }
}

Test-Selection -Name 'the user holds the selection open' -Steps {
    Write-Selection -Entries '[6,2222,22,1]'
    $held = [System.IO.FileStream]::new("$World/$Inbox/selection.json", 'Open', 'ReadWrite', 'None')
    try {
        $answer = Invoke-ForwardTask
        Assert-Equal -Expected 'failed' -Found $answer['state']
        foreach ($word in @('Exception calling', 'with "')) { Assert-True -Found (-not ([string] $answer['detail']).Contains($word)) -What $answer['detail'] }
    } finally {
        $held.Dispose()
    }
    Assert-Equal -Expected 'synced' -Found (Invoke-ForwardTask)['state']
}

Test-Selection -Name 'an argument of the task that is no SID' -Steps {
    foreach ($sid in @('S-1-5-18', 'S-1-5-21-1-2-3-1001\..\..', '', '..\x')) {
        $run = Start-PowerShell -Arguments @('-NoProfile', '-NonInteractive', '-File', 'C:\Program Files\wslmesh\forward.ps1', '-Sid', $sid) -Bytes @() -Token $System -Language ''
        Assert-True -Found ((Wait-PowerShell -Run $run).Code -ne 0) -What "refused: $sid"
    }
}

Test-Case -Name 'a folder in our place under Program Files is not ours' -Body {
    Copy-World -From $Fresh
    [void] [System.IO.Directory]::CreateDirectory("$World/c/Program Files/wslmesh")
    Edit-Store -Name 'acl' -Edit { param($all) $all['c:\program files\wslmesh'] = "O:${User}D:(A;OICI;FA;;;$User)" }
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'failed' -Found $answer['state']
    Assert-Equal -Expected '' -Found (@(& find "$World/c/Program Files/wslmesh" -type f) -join ' ')
    Assert-Equal -Expected 0 -Found @(Get-Tasks).Count
    Remove-World
}

Test-Case -Name 'a link in our place under Program Files' -Body {
    Copy-World -From $Fresh
    [void] [System.IO.Directory]::CreateDirectory("$World/c/Users/x/planted")
    & ln -s "$World/c/Users/x/planted" "$World/c/Program Files/wslmesh"
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'failed' -Found $answer['state']
    Assert-Equal -Expected '' -Found (@(& find "$World/c/Users/x/planted" -type f) -join ' ')
    Remove-World
}

Test-Case -Name 'a task folder that another user made first' -Body {
    Copy-World -From $Fresh
    $table = '{"Folders":{"\\":"O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;GRGX;;;BU)","\\wslmesh":"O:BAD:(A;OICI;FA;;;BU)(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)"},"Tasks":[]}'
    [System.IO.File]::WriteAllText("$World/tasks.json", $table)
    Install-Whole
    $sddl = (Read-Store -Name 'tasks')['Folders']['\wslmesh']
    Assert-True -Found ($sddl -like '*D:P*') -What $sddl
    Remove-World
}

# PowerShell looks for modules in the user's own folder first: an elevated run must not.
Test-Case -Name 'a planted module is not loaded' -Body {
    Copy-World -From $Fresh
    $modules = "$World/documents/powershell/Modules"
    foreach ($name in @('NetTCPIP', 'NetSecurity')) {
        [void] [System.IO.Directory]::CreateDirectory("$modules/$name")
        $functions = @('Get-NetTCPSetting', 'Get-NetUDPSetting', 'Get-NetTCPConnection', 'Get-NetFirewallHyperVVMCreator')
        [System.IO.File]::WriteAllText("$modules/$name/$name.psm1", ($functions | ForEach-Object { "function $_ { [System.IO.File]::WriteAllText('$World/loaded', '$_') }" }) -join "`n")
    }
    foreach ($call in @(@('host.ps1', '{"version":1,"action":"check","probe":true}'), @('refresh.ps1', (New-SyncRequest -Forwards $Ssh)), @('host.ps1', (New-InstallRequest -Agreed)))) {
        $answer = Invoke-Script -Name $call[0] -Request $call[1] -Token $Elevated
        Assert-True -Found (@('checked', 'synced', 'installed') -ccontains $answer['state']) -What ('{0}: {1}' -f $answer['state'], $answer['detail'])
    }
    $loaded = ''
    if ([System.IO.File]::Exists("$World/loaded")) { $loaded = [System.IO.File]::ReadAllText("$World/loaded") }
    Assert-Equal -Expected '' -Found $loaded
    Remove-World
}

# A program of the user that changes what the setup was ordered to do, while the person reads the question.
Test-Case -Name 'staging is changed while the question is open' -Body {
    Copy-World -From $Fresh
    Set-Switch -Name 'window-input' -Text "yes`n"
    $run = Start-Script -Name 'host.ps1' -Request (New-InstallRequest)
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    $changed = 0
    while ((-not $run.Process.HasExited) -and ($clock.ElapsedMilliseconds -lt 120000)) {
        foreach ($path in @(& find "$World/c/Users" -name 'forward.ps1' -o -name 'setup.ps1')) {
            try {
                [System.IO.File]::AppendAllText($path, "`n# planted")
                $changed += 1
            } catch [System.IO.IOException] {
                # Held, or gone.
                $null = $_
            }
        }
        Start-Sleep -Milliseconds 20
    }
    $answer = Wait-Script -Run $run
    Assert-True -Found ($changed -gt 0) -What 'something was changed'
    foreach ($path in @(& find "$World/c/Program Files" -name '*.ps1')) {
        Assert-True -Found (-not [System.IO.File]::ReadAllText($path).Contains('# planted')) -What "$path, and the state is $($answer['state'])"
    }
    Assert-True -Found (@('installed', 'verification-failed') -ccontains $answer['state']) -What ('{0}: {1}' -f $answer['state'], $answer['detail'])
    Remove-World
}
