# Everything once, in one world: look, sync, install, sync through the task, uninstall; then the double itself.

New-World
$Foreign = Get-ForeignText
$Conf = { param($name, $text) Set-Switch -Name $name -Text $text }

Test-Case -Name 'look: nothing is installed' -Body {
    $answer = Invoke-Script -Name 'host.ps1' -Request '{"version":1,"action":"look"}'
    Assert-Equal -Expected 'looked' -Found $answer['state']
    Assert-Equal -Expected $null -Found $answer['installed']
    Assert-Equal -Expected $false -Found $answer['elevated']
}

Test-Case -Name 'neither installed nor elevated: says so and changes nothing' -Body {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh)
    Assert-Equal -Expected 'not-elevated' -Found $answer['state']
    Assert-Clean -Foreign $Foreign
}

Test-Case -Name 'elevated: one forward, with its firewall rule' -Body {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh) -Token $Elevated
    Assert-Equal -Expected 'synced 1 done 1' -Found ('{0} {1} {2} {3}' -f $answer['state'], $answer['added'], $answer['firewall']['state'], $answer['firewall']['added'])
    Assert-Equal -Expected $SshRule -Found (Get-ProxyText)
    Assert-Equal -Expected 1 -Found @(Get-OwnRules).Count
    Assert-Whole -Foreign $Foreign
}

Test-Case -Name 'elevated: three forwards' -Body {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh, $Web, $WireGuard) -Token $Elevated
    Assert-Equal -Expected 'synced 1 1' -Found ('{0} {1} {2}' -f $answer['state'], $answer['added'], $answer['kept'])
    Assert-Equal -Expected "$SshRule $WebRule" -Found (Get-ProxyText)
    Assert-Whole -Foreign $Foreign
}

Test-Case -Name 'elevated: withdrawal leaves nothing' -Body {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest) -Token $Elevated
    Assert-Equal -Expected 'synced 2' -Found ('{0} {1}' -f $answer['state'], $answer['removed'])
    Assert-Clean -Foreign $Foreign
}

Test-Case -Name 'install: yes in the window' -Body {
    & $Conf 'window-input' "yes`n"
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest)
    Assert-Equal -Expected 'installed 0.0.1' -Found ('{0} {1}' -f $answer['state'], $answer['installed']['version'])
    Assert-Equal -Expected 2 -Found @(Get-Tasks).Count
    foreach ($name in @('forward.ps1', 'wslmesh-relay.exe')) {
        Assert-True -Found ([System.IO.File]::Exists("$World/c/Program Files/wslmesh/$name")) -What $name
    }
}

Test-Case -Name 'install: once more is nothing to do' -Body {
    Assert-Equal -Expected 'nothing-to-do' -Found (Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest))['state']
}

Test-Case -Name 'through the task: three forwards, and one is outside the policy' -Body {
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $Ssh, $Web, $WireGuard, $Outside)
    Assert-Equal -Expected 'synced 2 False' -Found ('{0} {1} {2}' -f $answer['state'], $answer['added'], $answer['elevated'])
    Assert-Equal -Expected 'tcp 9999' -Found (@($answer['refused'] | ForEach-Object { '{0} {1}' -f $_['protocol'], $_['listen-port'] }) -join ' ')
    Assert-Equal -Expected "$SshRule $WebRule" -Found (Get-ProxyText)
    # One forward's, the relay's, and the two of the machine.
    Assert-Equal -Expected 4 -Found @(Get-OwnRules).Count
    Assert-Whole -Foreign $Foreign
}

Test-Case -Name 'one port: who has it, which rules are about it, and whether it answers' -Body {
    & $Conf 'excluded' '50000-50059'
    $request = '{"version":1,"action":"look","protocol":"tcp","served-by":"portproxy","listen-address":"0.0.0.0","listen-port":PORT,"connect-address":"","connect-port":22}'
    $answer = Invoke-Script -Name 'port.ps1' -Request $request.Replace('PORT', '2222')
    Assert-Equal -Expected 'looked ' -Found ('{0} {1}' -f $answer['state'], ($answer['problems'] -join ' '))
    Assert-Equal -Expected '172.28.16.5 22 True' -Found ('{0} {1} {2}' -f $answer['rules'][0]['connect-address'], $answer['rules'][0]['connect-port'], $answer['rules'][0]['ours'])
    Assert-Equal -Expected 'True False' -Found ('{0} {1}' -f ($answer['firewall']['allows'] -ccontains "wslmesh-$User-tcp-2222-portproxy"), $answer['firewall']['open'])
    Assert-Equal -Expected '49152 65535 True' -Found ('{0} {1}' -f ($answer['dynamic'] -join ' '), $answer['allowed'])
    # No forward of the double carries traffic: nothing listens for real.
    Assert-Equal -Expected 'listener 10061' -Found ('{0} {1}' -f $answer['connects'][0]['to'], $answer['connects'][0]['code'])
    $answer = Invoke-Script -Name 'port.ps1' -Request $request.Replace('PORT', '50010')
    Assert-Equal -Expected '50000 50059 False' -Found ('{0} {1}' -f ($answer['excluded'] -join ' '), $answer['allowed'])
    $listener = [System.Net.Sockets.TcpListener]::new([System.Net.IPAddress]::Any, 0)
    $listener.Start()
    $answer = Invoke-Script -Name 'port.ps1' -Request $request.Replace('PORT', $listener.LocalEndpoint.Port)
    $listener.Stop()
    Assert-Equal -Expected "0.0.0.0 $PID listener 0" -Found ('{0} {1} {2} {3}' -f $answer['owners'][0]['address'], $answer['owners'][0]['id'], $answer['connects'][0]['to'], $answer['connects'][0]['code'])
    & $Conf 'firewall-off' '2'
    Assert-Equal -Expected 'True' -Found (Invoke-Script -Name 'port.ps1' -Request $request.Replace('PORT', '2222'))['firewall']['open']
    Clear-Switch -Name 'firewall-off'
    Assert-Whole -Foreign $Foreign
}

Test-Case -Name 'the checks run' -Body {
    $answer = Invoke-Script -Name 'host.ps1' -Request '{"version":1,"action":"check","probe":true}'
    Assert-Equal -Expected 'checked' -Found $answer['state']
    # T11 says how busy this machine is.
    $differs = @($answer['checks'] | Where-Object { ($_['result'] -eq 'differs') -and ($_['id'] -ne 'T11') } | ForEach-Object { $_['id'] + ' ' + $_['detail'] })
    Assert-Equal -Expected '' -Found ($differs -join '; ')
    # What the sync before asked for of the port proxy, without the forward that the policy refuses.
    Assert-True -Found ($answer['selection'] -cmatch '\A\{"version":1,"ticket":[0-9]+,"mode":1,"forwards":\[(\[[0-9,]+\],?){2}\]\}\z') -What $answer['selection']
    Assert-Whole -Foreign $Foreign
}

# As the agent's probe does it.
Test-Case -Name 'one forward more comes and goes, and that is all that is counted' -Body {
    $more = New-Forward -Protocol 'tcp' -Port 2299 -Connect 29 -ServedBy 'portproxy'
    $table = @(
        @{ Forwards = @($Ssh, $Web, $WireGuard, $more); Counts = 'synced 1 0 1 0'; Rules = "$SshRule 0.0.0.0/2299=172.28.16.5/29 $WebRule" }
        @{ Forwards = @($Ssh, $Web, $WireGuard); Counts = 'synced 0 1 0 1'; Rules = "$SshRule $WebRule" }
    )
    foreach ($case in $table) {
        $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest -Forwards $case.Forwards)
        $counts = '{0} {1} {2} {3} {4}' -f $answer['state'], $answer['added'], $answer['removed'], $answer['firewall']['added'], $answer['firewall']['removed']
        Assert-Equal -Expected $case.Counts -Found $counts
        Assert-Equal -Expected $case.Rules -Found (Get-ProxyText)
    }
    Assert-Whole -Foreign $Foreign
}

Test-Case -Name 'uninstall leaves nothing' -Body {
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-UninstallRequest)
    Assert-Equal -Expected 'removed' -Found $answer['state']
    Assert-Equal -Expected $null -Found $answer['detail']
    Assert-Clean -Foreign $Foreign
}

# ---- The double itself ---------------------------------------------------------------------------------

function Invoke-Command51 {
    param([string] $Command, [string] $Token)
    (Wait-PowerShell -Run (Start-PowerShell -Arguments @('-NoProfile', '-Command', $Command) -Bytes @() -Token $Token -Language '')).Text.Trim()
}

Test-Case -Name 'the double: names of .NET lead to it' -Body {
    $names = [System.IO.File]::ReadAllLines("$Double/pwsh/profile.ps1") | Where-Object { $_ -cmatch "\A        '[A-Z].*' = \[WindowsDouble" } | ForEach-Object { '[' + $_.Split("'")[1] + '].Namespace' }
    Assert-True -Found ($names.Count -gt 15) -What 'its names are found'
    Assert-Equal -Expected 'WindowsDouble' -Found (@((Invoke-Command51 -Command ($names -join ';')).Split("`n") | Sort-Object -Unique) -join ' ')
}

Test-Case -Name 'in constrained language no script is called' -Body {
    foreach ($name in @('host.ps1', 'refresh.ps1')) {
        $ended = Wait-PowerShell -Run (Start-Script -Name $name -Request (New-SyncRequest) -Token '' -Language 'ConstrainedLanguage')
        Assert-True -Found $ended.Text.StartsWith('wslmesh ConstrainedLanguage ') -What $ended.Text
        Assert-Equal -Expected 0 -Found $ended.Code
    }
}

Test-Case -Name 'a script that is a file answers too' -Body {
    $answer = Invoke-Script -Name 'host.ps1' -Request '{"version":1,"action":"look"}' -AsFile
    Assert-Equal -Expected 'looked' -Found $answer['state']
    $answer = Invoke-Script -Name 'refresh.ps1' -Request (New-SyncRequest) -AsFile
    Assert-Equal -Expected 'synced' -Found $answer['state']
}

Test-Case -Name 'the double: exit codes, arguments and standard input' -Body {
    $encoded = [System.Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes('exit 21'))
    Assert-Equal -Expected 21 -Found (Wait-PowerShell -Run (Start-PowerShell -Arguments @('-NoProfile', '-EncodedCommand', $encoded) -Bytes @() -Token '' -Language '')).Code
    [void] [System.IO.Directory]::CreateDirectory("$World/c/Temp")
    [System.IO.File]::WriteAllText("$World/c/Temp/Args.ps1", 'param([string] $Word) [System.IO.File]::WriteAllText(''C:\TEMP\new.txt'', $Word + [Console]::In.ReadToEnd()); exit 7')
    $run = Start-PowerShell -Arguments @('-NoProfile', '-File', 'c:\temp\ARGS.PS1', '-Word', 'a -NoProfile ') -Bytes ([byte[]] @(105, 110)) -Token $Elevated -Language ''
    Assert-Equal -Expected 7 -Found (Wait-PowerShell -Run $run).Code
    Assert-Equal -Expected 'a -NoProfile in' -Found ([System.IO.File]::ReadAllText("$World/c/Temp/new.txt"))
    Assert-Equal -Expected '755' -Found (& stat -c '%a' "$World/c/Temp/new.txt")
}

Test-Case -Name 'the double: the firewall of guests' -Body {
    $command = 'try { $null = New-NetFirewallHyperVRule -Name r -DisplayName r -RemoteAddresses {0} -ErrorAction Stop } catch { ''refused'' }; @(Get-NetFirewallHyperVRule).Count'
    Assert-Equal -Expected 'refused 0' -Found (Invoke-Command51 -Command $command.Replace('{0}', 'LocalSubnet') -Token $Elevated).Replace("`n", ' ')
    Assert-Equal -Expected '1' -Found (Invoke-Command51 -Command $command.Replace('{0}', '192.168.0.0/16') -Token $Elevated)
}

Test-Case -Name 'the double: listeners of the port proxy' -Body {
    Edit-Store -Name 'registry' -Edit { param($root) (Find-Key -Root $root -Path $ProxyKey).Values['0.0.0.0/7788'] = @{ Kind = 'String'; Text = '10.0.0.9/77' } }
    $command = '@([System.Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties().GetActiveTcpListeners() | Where-Object { $_.Port -eq 7788 }).Count; @(& ([Environment]::SystemDirectory + ''\netstat.exe'') -ano | Where-Object { $_ -like ''*:7788 *'' }).Count'
    Assert-Equal -Expected '1 1' -Found (Invoke-Command51 -Command $command).Replace("`n", ' ')
    Set-Switch -Name 'proxy-deaf' -Text '1'
    Assert-Equal -Expected '0 0' -Found (Invoke-Command51 -Command $command).Replace("`n", ' ')
}

Test-Case -Name 'the double: rights of keys' -Body {
    $command = '$s = New-Object System.Security.AccessControl.RegistrySecurity; $s.SetSecurityDescriptorSddlForm(''O:BAD:P(A;CI;KA;;;BA)(A;CI;KA;;;SY)''); $k = [Microsoft.Win32.RegistryKey]::OpenBaseKey(''LocalMachine'', ''Registry64''); '
    $make = $command + '[void] $k.CreateSubKey(''SOFTWARE\ours'', [Microsoft.Win32.RegistryKeyPermissionCheck]::ReadWriteSubTree, $s); ''made'''
    Assert-Equal -Expected 'made' -Found (Invoke-Command51 -Command $make -Token $Elevated)
    Assert-Equal -Expected 'refused' -Found (Invoke-Command51 -Command ($command + 'try { $k.OpenSubKey(''SOFTWARE\ours'') } catch { ''refused'' }'))
}
