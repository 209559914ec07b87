# refresh.ps1: the request, the task and its answer, and the work without a task.

function Get-RequestSample {
    param([string] $Forwards)
    '{"version":1,"action":"sync","mode":"nat","connect-address":"172.28.16.5","forwards":[' + $Forwards + ']}'
}

function Get-ForwardSample {
    '{"protocol":"tcp","listen-address":"0.0.0.0","listen-port":2222,"connect-port":22,"served-by":"portproxy","firewall":"local"}'
}

function Invoke-Refresh {
    param([string] $Text)
    $script:World.Input = $Text
    ConvertFrom-Json -InputObject (Get-AnswerText)
}

# What the task answers to ticket 7, as forward.ps1 writes it.
function Get-TaskSample {
    '{"version":1,"ticket":7,"state":"synced","detail":null,"elevated":true,"rules":[{"listen-address":"0.0.0.0","listen-port":2222,"connect-address":"172.28.16.5","connect-port":22}],' +
        '"added":1,"removed":0,"kept":0,"conflicts":[],"taken":[],"refused":[],"firewall":{"state":"done","detail":null,"added":1,"removed":0,"kept":0,"blocks":[],"profiles":["private"],"covered":true},' +
        '"installed":null,"local-app-data":null,"guest-address":"172.28.16.5","windows-address":null,"lowest-mtu":null}'
}

Test-Case -Name 'the task is started and its answer taken over' -Body {
    $script:World.Task = { $script:World.Answer = Get-TaskSample }
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]}' -Found $script:World.Selection
    Assert-Equal -Expected 'synced 1 172.28.16.5' -Found ('{0} {1} {2}' -f $answer.'state', $answer.'added', $answer.'guest-address')
    Assert-Equal -Expected '2222' -Found $answer.'rules'[0].'listen-port'
    Assert-Equal -Expected 'done private' -Found ('{0} {1}' -f $answer.'firewall'.'state', $answer.'firewall'.'profiles'[0])
    Assert-Equal -Expected '0.1.0 2' -Found ('{0} {1}' -f $answer.'installed'.'version', $answer.'installed'.'contract')
    Assert-Equal -Expected '192.168.50.10 1500' -Found ('{0} {1}' -f $answer.'windows-address', $answer.'lowest-mtu'.'mtu')
    Assert-Equal -Expected 'False' -Found $answer.'elevated'
    Assert-Equal -Expected 'True' -Found ($answer.PSObject.Properties.Name -ccontains 'local-app-data')
}

Test-Case -Name 'the dynamic ranges, where they are asked for' -Body {
    $script:World.Task = { $script:World.Answer = Get-TaskSample }
    $request = Get-RequestSample -Forwards (Get-ForwardSample)
    $answer = Invoke-Refresh -Text $request
    Assert-Equal -Expected 'synced ' -Found ('{0} {1}{2}' -f $answer.'state', $answer.'dynamic', $script:World.Asked)
    $request = $request.Replace('"sync"', '"sync-and-ports"')
    $answer = Invoke-Refresh -Text $request
    Assert-Equal -Expected '1024 65534 / 1024 65534' -Found ('{0} / {1}' -f ($answer.'dynamic'.'tcp' -join ' '), ($answer.'dynamic'.'udp' -join ' '))
    Assert-Equal -Expected 'dynamicport tcp 2;dynamicport udp 2;' -Found $script:World.Asked
    # A netsh that says something else, or nothing, costs the ranges and not the answer.
    foreach ($text in @("Startport : 60000`r`nAnzahl : 9000`r`n", "Startport : 0`r`nAnzahl : 10`r`n", "Startport : 1024`r`nAnzahl : 0`r`n", "Startport : 1024`r`n", '', $null)) {
        $script:World.PortText = @{}
        if ($null -ne $text) { $script:World.PortText['dynamicport'] = $text }
        $answer = Invoke-Refresh -Text $request
        Assert-Equal -Expected 'synced  ' -Found ('{0} {1} {2}' -f $answer.'state', ($answer.'dynamic'.'tcp' -join ' '), ($answer.'dynamic'.'udp' -join ' '))
    }
}

Test-Case -Name 'lists stay lists' -Body {
    $script:World.Task = { $script:World.Answer = Get-TaskSample }
    $script:World.Input = Get-RequestSample -Forwards (Get-ForwardSample)
    $text = Get-AnswerText
    foreach ($part in @('"rules":[{', '"conflicts":[]', '"taken":[]', '"refused":[]', '"blocks":[]', '"profiles":["private"]')) {
        Assert-True -Found $text.Contains($part) -What $part
    }
}

Test-Case -Name 'an answer to another ticket is not ours' -Body {
    $script:World.Answer = (Get-TaskSample).Replace('"ticket":7', '"ticket":77')
    $script:World.State = 4
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'task-timeout' -Found $answer.'state'
    Assert-True -Found $answer.'detail'.Contains('still at work') -What 'the reason'
    Assert-True -Found ($script:World.Clock.ElapsedMilliseconds -ge 10000) -What 'ten seconds went by'
}

Test-Case -Name 'a result counts only for a run of this request' -Body {
    $script:World.Result = '0x00000003'
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-True -Found $answer.'detail'.Contains('constrained language mode') -What $answer.'detail'
    Assert-Equal -Expected 1 -Found $script:World.Starts
    # Made anew since it was started: it has never run, and is started once more.
    $script:World.Task = { $script:World.Runs = 0 }
    $script:World.Runs = 0
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'task-timeout 3' -Found ('{0} {1}' -f $answer.'state', $script:World.Starts)
    Assert-True -Found $answer.'detail'.Contains('it did not run') -What $answer.'detail'
    $script:World.Task = { if ($script:World.Starts -eq 5) { $script:World.Answer = Get-TaskSample } else { $script:World.Runs = 0 } }
    Assert-Equal -Expected 'synced' -Found (Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))).'state'
}

Test-Case -Name 'the last of several requests wins' -Body {
    $script:World.Task = { $script:World.Selection = (Get-SelectionSample -Entries '').Replace('"ticket":7', '"ticket":8') }
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'superseded' -Found $answer.'state'
    Assert-True -Found $answer.'detail'.Contains('a later request') -What $answer.'detail'
    Assert-True -Found $script:World.Selection.Contains('"ticket":8') -What 'the later selection stays'
}

Test-Case -Name 'the answer comes late' -Body {
    $script:World.Answer = (Get-TaskSample).Replace('"ticket":7', '"ticket":6')
    function Wait-Win {
        param([int] $Milliseconds)
        $script:World.Clock.ElapsedMilliseconds += $Milliseconds
        if ($script:World.Clock.ElapsedMilliseconds -ge 3000) {
            $script:World.Answer = Get-TaskSample
        }
    }
    Assert-Equal -Expected 'synced' -Found (Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))).'state'
}

Test-Case -Name 'the task cannot be started' -Body {
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.4/22' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.4/22' }
    $script:World.Task = { throw (New-Object System.IO.FileNotFoundException('localised')) }
    $before = Get-WorldText
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'task-failed 1' -Found ('{0} {1}' -f $answer.'state', @($answer.'rules').Count)
    Assert-True -Found $answer.'detail'.Contains('is missing') -What 'the reason'
    Assert-True -Found $answer.'detail'.Contains('0x80070002') -What 'the number is told'
    Assert-True -Found (-not $answer.'detail'.Contains('localised')) -What 'localised text is not told'
    Assert-Equal -Expected $before -Found (Get-WorldText)
    $script:World.Task = { throw (New-Object System.UnauthorizedAccessException('x')) }
    Assert-True -Found (Invoke-Refresh -Text (Get-RequestSample -Forwards '')).'detail'.Contains('0x80070005') -What 'access denied is told'
}

Test-Case -Name 'refused before the task, and by it' -Body {
    $script:World.Task = { $script:World.Answer = (Get-TaskSample).Replace('"refused":[]', '"refused":[{"protocol":"tcp","listen-port":2222,"connect-port":22,"reason":"outside-policy"}]') }
    $one = Get-ForwardSample
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (@($one, $one.Replace('2222', '3333'), $one.Replace('2222', '2223').Replace('0.0.0.0', '127.0.0.1'), $one.Replace('2222', '2224').Replace('local"', 'full"')) -join ','))
    Assert-Equal -Expected '3333 outside-policy;2223 listen-address;2224 firewall;2222 outside-policy' -Found (@($answer.'refused' | ForEach-Object { '{0} {1}' -f $_.'listen-port', $_.'reason' }) -join ';')
    Assert-Equal -Expected '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]}' -Found $script:World.Selection
}

Test-Case -Name 'another version is installed' -Body {
    $script:World.Installed = '{"version":"9.0.0","contract":3,"files":[],"newer":true}'
    $script:World.Policy = '{"version":3,"other":true}'
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'other-version 3' -Found ('{0} {1}' -f $answer.'state', $answer.'installed'.'contract')
    Assert-Equal -Expected 0 -Found $script:World.Starts
}

Test-Case -Name 'an installation that cannot be read' -Body {
    foreach ($text in @('', '{', '{"version":"0.1.0"}', '{"version":1,"contract":1}', '{"version":"0.1.0","contract":"1"}')) {
        $script:World.Installed = $text
        Assert-Equal -Expected 'failed' -Found (Invoke-Refresh -Text (Get-RequestSample -Forwards '')).'state'
    }
    Assert-Equal -Expected 0 -Found $script:World.Starts
}

Test-Case -Name 'not installed, not elevated' -Body {
    $script:World.Policy = ''
    $before = Get-WorldText
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'not-elevated' -Found $answer.'state'
    Assert-True -Found (($null -eq $answer.'firewall') -and ($null -eq $answer.'installed')) -What 'nobody did anything'
    Assert-Equal -Expected $before -Found (Get-WorldText)
}

Test-Case -Name 'not installed, a withdrawal leaves no empty keys' -Body {
    $script:World.Policy = ''
    $script:World.Elevated = $true
    $script:World.Input = '{"version":1,"action":"sync","mode":"nat","connect-address":"172.28.16.5","forwards":[]}'
    [void] (Get-AnswerText)
    $own = 'SOFTWARE\wslmesh\' + $script:World.Sid
    Assert-Equal -Expected ($own + '\ledger;' + $own + ';SOFTWARE\wslmesh') -Found ($script:World.EmptyKeys -join ';')
}

Test-Case -Name 'not installed, and elevated: the last of several requests wins' -Body {
    $script:World.Policy = ''
    $script:World.Elevated = $true
    function Enter-SyncLock {
        $script:World.Latest = 8
        'the lock'
    }
    $before = Get-WorldText
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'superseded' -Found $answer.'state'
    Assert-Equal -Expected $before -Found (Get-WorldText)
    # It stays for the one that wrote it.
    Assert-Equal -Expected '8' -Found $script:World.Latest
}

Test-Case -Name 'not installed, and elevated' -Body {
    $script:World.Policy = ''
    $script:World.Elevated = $true
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-ForwardSample))
    Assert-Equal -Expected 'synced 1 True' -Found ('{0} {1} {2}' -f $answer.'state', $answer.'added', $answer.'elevated')
    Assert-Equal -Expected '0.0.0.0/2222=172.28.16.5/22' -Found (Get-TableText -Table $script:World.Table)
    Assert-Equal -Expected 3 -Found $script:World.Rules[0].Profiles
    Assert-Equal -Expected 0 -Found $script:World.Starts
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards '')
    Assert-Equal -Expected '1 0 0' -Found ('{0} {1} {2}' -f $answer.'removed', $script:World.Table.Count, $script:World.Ledger.Count)
}

Test-Case -Name 'an install that came first while the lock was waited for is gone by' -Body {
    $script:World.Elevated = $true
    $script:World.Policy = ''
    $script:World.Waited = { $script:World.Policy = Get-PolicySample }
    $one = Get-ForwardSample
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards ($one + ',' + $one.Replace('2222', '3333')))
    Assert-Equal -Expected '3333 outside-policy' -Found (@($answer.'refused' | ForEach-Object { '{0} {1}' -f $_.'listen-port', $_.'reason' }) -join ';')
    Assert-Equal -Expected '0.0.0.0/2222=172.28.16.5/22' -Found (Get-TableText -Table $script:World.Table)
    Assert-Equal -Expected 0 -Found $script:World.Starts
}

# A policy whose TCP grant the relay serves.
function Get-RelayPolicy {
    (Get-PolicySample).Replace('"portproxy"', '"auto"')
}

function Get-RelayForward {
    (Get-ForwardSample).Replace('"portproxy"', '"relay"')
}

# What an install makes of the firewall.
function Set-PolicyFirewall {
    $policy = Get-InstalledPolicy -Sid $script:World.Sid
    [void] (Sync-Firewall -Policy $policy -Forwards @() -Owned @{} -Sid $script:World.Sid -Guest '' -Write $true)
}

Test-Case -Name 'what the relay serves is read back, and nothing is started' -Body {
    $script:World.Policy = Get-RelayPolicy
    Set-PolicyFirewall
    $script:World.Listening = @{ '2222' = @('0.0.0.0') }
    $before = Get-WorldText
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-RelayForward))
    Assert-Equal -Expected 'synced done 0 2 0 0' -Found ('{0} {1} {2} {3} {4} {5}' -f $answer.'state', $answer.'firewall'.'state', $answer.'firewall'.'added', $answer.'firewall'.'kept', @($answer.'silent').Count, @($answer.'narrower').Count)
    Assert-Equal -Expected ($before + ' 0') -Found ((Get-WorldText) + ' ' + $script:World.Starts)
    $script:World.Listening = @{ '2222' = @('127.0.0.1') }
    $udp = '{"protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,"connect-port":51820,"served-by":"relay","firewall":"full"}'
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards ((Get-RelayForward) + ',' + $udp))
    Assert-Equal -Expected 'tcp 2222;udp 51820' -Found (@($answer.'silent' | ForEach-Object { '{0} {1}' -f $_.'protocol', $_.'listen-port' }) -join ';')
    $script:World.ListeningUdp = @{ '51820' = @('0.0.0.0') }
    Assert-Equal -Expected 1 -Found @((Invoke-Refresh -Text (Get-RequestSample -Forwards ((Get-RelayForward) + ',' + $udp))).'silent').Count
}

Test-Case -Name 'a rule of an install that is missing or different is said' -Body {
    $script:World.Policy = Get-RelayPolicy
    Set-PolicyFirewall
    $rule = Find-WorldRules -Like '*-tcp-*'
    $rule.Enabled = $false
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-RelayForward))
    Assert-Equal -Expected 'partial failed the firewall rule for TCP port 2000-2999 is missing or different; run "wslmesh host install"' -Found ('{0} {1} {2}' -f $answer.'state', $answer.'firewall'.'state', $answer.'firewall'.'detail')
    Assert-True -Found (-not (Find-WorldRules -Like '*-tcp-*').Enabled) -What 'nothing is changed without rights'
}

Test-Case -Name 'a policy for another networking mode is said' -Body {
    $script:World.Policy = (Get-RelayPolicy).Replace('"nat"', '"mirrored"')
    Set-PolicyFirewall
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards (Get-RelayForward))
    Assert-Equal -Expected 'partial the firewall rules were made for mode mirrored; run "wslmesh host install"' -Found ('{0} {1}' -f $answer.'state', $answer.'firewall'.'detail')
    $guest = (Get-RequestSample -Forwards (Get-ForwardSample)).Replace('"nat"', '"mirrored"').Replace('"portproxy"', '"guest"')
    $answer = Invoke-Refresh -Text $guest
    Assert-Equal -Expected 'synced done windows 0' -Found ('{0} {1} {2} {3}' -f $answer.'state', $answer.'firewall'.'state', $answer.'firewall'.'guest', $script:World.Starts)
}

Test-Case -Name 'who serves a grant decides what may be asked for' -Body {
    $proxy = Get-ForwardSample
    $relay = Get-RelayForward
    $cases = @(
        @{ Backend = 'auto'; Value = ''; Elevated = $false; Forward = $relay; Gap = '' }
        @{ Backend = 'auto'; Value = ''; Elevated = $false; Forward = $proxy; Gap = 'backend' }
        @{ Backend = 'auto'; Value = 'forbidden'; Elevated = $false; Forward = $proxy; Gap = '' }
        @{ Backend = 'auto'; Value = 'forbidden'; Elevated = $false; Forward = $relay; Gap = 'backend' }
        @{ Backend = 'auto'; Value = ''; Elevated = $true; Forward = $proxy; Gap = '' }
        @{ Backend = 'relay'; Value = 'forbidden'; Elevated = $false; Forward = $relay; Gap = '' }
        @{ Backend = 'relay'; Value = ''; Elevated = $true; Forward = $proxy; Gap = 'backend' }
        @{ Backend = 'portproxy'; Value = ''; Elevated = $false; Forward = $proxy; Gap = '' }
        @{ Backend = 'portproxy'; Value = ''; Elevated = $false; Forward = $relay; Gap = 'backend' }
        # The relay holds a forward to less, the port proxy cannot.
        @{ Backend = 'auto'; Value = ''; Elevated = $false; Forward = $relay.Replace('local', 'none'); Gap = '' }
        @{ Backend = 'auto'; Value = ''; Elevated = $false; Forward = $relay.Replace('local', 'full'); Gap = 'firewall' }
        @{ Backend = 'portproxy'; Value = ''; Elevated = $false; Forward = $proxy.Replace('local', 'none'); Gap = 'firewall' }
    )
    foreach ($case in $cases) {
        Reset-World
        $script:World.Policy = (Get-PolicySample).Replace('"portproxy"', '"' + $case.Backend + '"')
        $script:World.RelayValue = $case.Value
        $script:World.Elevated = $case.Elevated
        $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards $case.Forward)
        Assert-Equal -Expected $case.Gap -Found (@($answer.'refused' | ForEach-Object { $_.'reason' }) -join ';')
        $narrower = [int] (($case.Gap -ceq '') -and $case.Forward.Contains('none'))
        Assert-Equal -Expected $narrower -Found @($answer.'narrower').Count
        Assert-Equal -Expected ($case.Value -ceq 'forbidden') -Found $answer.'installed'.'relay-forbidden'
    }
}

Test-Case -Name 'a rule of ours that no task may remove is said' -Body {
    $script:World.Policy = Get-RelayPolicy
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    $answer = Invoke-Refresh -Text (Get-RequestSample -Forwards '')
    Assert-Equal -Expected 'not-elevated 1 forward(s) must change, which needs "wslmesh host install"' -Found ('{0} {1}' -f $answer.'state', $answer.'detail')
    Assert-Equal -Expected 0 -Found $script:World.Starts
}

Test-Case -Name 'requests that are refused' -Body {
    $good = Get-RequestSample -Forwards (Get-ForwardSample)
    $evil = '"; Remove-Item C:\\"'
    $texts = @('', '{', '[]', 'null', $good.Replace('"version":1', '"version":2'), $good.Replace('"version":1', '"version":1.0'),
        $good.Replace('"sync"', '"Sync"'), $good.Replace('"nat"', '"none"'), $good.Replace('"nat"', '"mirrored"'), $good.Replace('"172.28.16.5"', '"127.0.0.1"'),
        $good.Replace('"172.28.16.5"', '"172.28.16.05"'), $good.Replace('"tcp"', '"udp"'), $good.Replace('"portproxy"', '"guest"'), $good.Replace('"portproxy"', '"nginx"'),
        $good.Replace('2222', '0'), $good.Replace('2222', '65536'), $good.Replace('2222', '"2222"'), $good.Replace('"local"', '"any"'), $good.Replace('"tcp"', $evil),
        $good.Replace('"0.0.0.0"', $evil), $good.Replace('"local"', $evil), $good.Replace('22,', $evil + ','), $good.Replace('"action"', '"newer":1,"action"'),
        (Get-RequestSample -Forwards ((Get-ForwardSample) + ',' + (Get-ForwardSample))))
    $before = Get-WorldText
    foreach ($text in $texts) {
        Assert-Equal -Expected 'invalid-request' -Found (Invoke-Refresh -Text $text).'state'
    }
    Assert-Equal -Expected $before -Found (Get-WorldText)
    Assert-Equal -Expected 0 -Found $script:World.Starts
}

Test-Case -Name 'the selection has the form that the task takes, and the port proxy''s forwards alone' -Body {
    $udp = '{"protocol":"udp","listen-address":"0.0.0.0","listen-port":51820,"connect-port":51820,"served-by":"relay","firewall":"full"}'
    [void] (Invoke-Refresh -Text (Get-RequestSample -Forwards ((Get-ForwardSample) + ',' + $udp)))
    Assert-Equal -Expected '{"version":1,"ticket":7,"mode":1,"forwards":[[6,2222,22,1]]}' -Found $script:World.Selection
    # The task is asked where something of its own may be left.
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    [void] (Invoke-Refresh -Text (Get-RequestSample -Forwards ''))
    Assert-Equal -Expected '{"version":1,"ticket":7,"mode":1,"forwards":[]} 2' -Found ($script:World.Selection + ' ' + $script:World.Starts)
    $script:World.Ledger = @{}
    [void] (Invoke-Refresh -Text (Get-RequestSample -Forwards $udp))
    Assert-Equal -Expected 2 -Found $script:World.Starts
}

Test-Case -Name 'a failure is a sentence, and of ours as it was thrown' -Body {
    $cases = @(
        @{ Body = { throw 'the task is missing' }; Words = 'the task is missing' }
        @{ Body = { Assert-Valid -Value $false -Message 'order: not JSON' }; Words = 'order: not JSON' }
        @{ Body = { [System.IO.File]::ReadAllText([System.IO.Path]::Combine($PSScriptRoot, 'none', 'none')) }
            Words = 'could not read it: a folder of wslmesh is missing; run "wslmesh host install" again (0x80070003)' }
        @{ Body = { throw (New-Object System.IO.FileNotFoundException('x')) }; Words = 'could not read it: a file of wslmesh is missing; run "wslmesh host install" again (0x80070002)' }
        @{ Body = { throw (New-Object System.UnauthorizedAccessException('x.')) }; Words = 'could not read it: Windows denies access to it; run "wslmesh host install" again (0x80070005)' }
        @{ Body = { [System.Convert]::FromBase64String('?') }; Words = 'could not read it: *' }
    )
    foreach ($case in $cases) {
        $body = $case.Body
        try {
            [void] (& $body)
        } catch {
            $found = Format-Failure -Step 'read it' -Failure $_
        }
        Assert-True -Found (($found -clike $case.Words) -and ($found -cnotlike '*Exception*')) -What $found
    }
}

Test-Case -Name 'a file that another process has open is waited for, and nothing else is' -Body {
    $script:World.Turns = 0
    $found = Invoke-WinShared -Milliseconds 1000 -Body {
        $script:World.Turns += 1
        if ($script:World.Turns -lt 4) { throw (New-Object System.IO.IOException('x', -2147024864)) }
        'opened'
    }
    Assert-Equal -Expected 'opened' -Found $found
    Assert-Equal -Expected 'x' -Found (Get-Message -Body { Invoke-WinShared -Milliseconds 1000 -Body { throw (New-Object System.IO.IOException('x', -2147024864)) } })
    Assert-True -Found ($script:World.Clock.ElapsedMilliseconds -ge 1000) -What 'for the time'
    [void] (Get-Message -Body { Invoke-WinShared -Milliseconds 1000 -Body { throw (New-Object System.IO.IOException('y', -2147024784)) } })
    Assert-Equal -Expected 0 -Found $script:World.Clock.ElapsedMilliseconds
}
