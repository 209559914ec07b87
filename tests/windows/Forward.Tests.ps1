# forward.ps1: the table of the port proxy, from the selection to the answer.

function Invoke-Forward {
    param([string] $Entries)
    $script:World.Selection = Get-SelectionSample -Entries $Entries
    ConvertFrom-Json -InputObject (Get-TaskText -Sid $script:World.Sid)
}

Test-Case -Name 'first sync' -Body {
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'synced' -Found $answer.'state'
    Assert-Equal -Expected 7 -Found $answer.'ticket'
    Assert-Equal -Expected '1 0 0' -Found ('{0} {1} {2}' -f $answer.'added', $answer.'removed', $answer.'kept')
    Assert-Equal -Expected '172.28.16.5' -Found $answer.'guest-address'
    Assert-Equal -Expected '0.0.0.0/2222=172.28.16.5/22' -Found (Get-TableText -Table $script:World.Table)
    Assert-Equal -Expected '172.28.16.5/22' -Found $script:World.Ledger['tcp/0.0.0.0/2222']
    Assert-Equal -Expected 1 -Found @($answer.'rules').Count
    Assert-Equal -Expected 'done' -Found $answer.'firewall'.'state'
}

Test-Case -Name 'the same again changes nothing' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $before = Get-WorldText
    $script:World.LinesLeft = 0
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'synced 0 1' -Found ('{0} {1} {2}' -f $answer.'state', $answer.'added', $answer.'kept')
    Assert-Equal -Expected $before -Found (Get-WorldText)
}

Test-Case -Name 're-point' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.GuestAddress = '172.28.16.9'
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'synced 1' -Found ('{0} {1}' -f $answer.'state', $answer.'added')
    Assert-Equal -Expected '0.0.0.0/2222=172.28.16.9/22' -Found (Get-TableText -Table $script:World.Table)
    Assert-True -Found (-not $script:World.Ledger.ContainsKey('pending/tcp/0.0.0.0/2222')) -What 'nothing is pending'
}

Test-Case -Name 'withdraw, with no guest on record' -Body {
    # The rules of the policy come with the first sync, and stay.
    [void] (Invoke-Forward -Entries '')
    $empty = Get-WorldText
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.GuestAddress = ''
    $answer = Invoke-Forward -Entries ''
    Assert-Equal -Expected 'synced 1' -Found ('{0} {1}' -f $answer.'state', $answer.'removed')
    Assert-Equal -Expected 1 -Found $answer.'firewall'.'removed'
    Assert-Equal -Expected $empty -Found (Get-WorldText)
}

Test-Case -Name 'closing a port does not depend on the address of the guest' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1],[6,2223,22,1],[6,2224,22,1]')
    $script:World.GuestAddress = ''
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,2225,22,1]'
    Assert-Equal -Expected 'guest-address-unknown 2 1 0' -Found ('{0} {1} {2} {3}' -f $answer.'state', $answer.'removed', $answer.'kept', $answer.'added')
    Assert-True -Found $answer.'detail'.Contains('wsl --shutdown') -What $answer.'detail'
    Assert-Equal -Expected '0.0.0.0/2222=172.28.16.5/22' -Found (Get-TableText -Table $script:World.Table)
    Assert-Equal -Expected '2222' -Found (@(Find-WorldRules -Like '*portproxy' | ForEach-Object { $_.LocalPorts }) -join ' ')
}

Test-Case -Name 'synced says that the ports are open' -Body {
    $script:World.Deaf = $true
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,2223,22,1]'
    Assert-Equal -Expected 'partial 2' -Found ('{0} {1}' -f $answer.'state', $answer.'added')
    Assert-Equal -Expected 'port 2222: Windows does not listen on it; restart the service IP Helper (iphlpsvc) (and 1 more)' -Found $answer.'detail'
    Assert-True -Found ($script:World.Clock.ElapsedMilliseconds -ge 1000) -What 'a second was waited'
    # Without a change one look is enough.
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,2223,22,1]'
    Assert-Equal -Expected 'partial 0' -Found ('{0} {1}' -f $answer.'state', $script:World.Clock.ElapsedMilliseconds)
    # An address that Windows does not have (yet) opens no port.
    $script:World.BindErrors = @{ '0.0.0.0/2222' = 10049; '0.0.0.0/2223' = 10049 }
    Assert-Equal -Expected 'synced' -Found (Invoke-Forward -Entries '[6,2222,22,1],[6,2223,22,1]').'state'
}

Test-Case -Name 'what netsh did not do is said in words' -Body {
    function Invoke-NetshScript { param([string[]] $Lines) }
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'partial port 2222: Windows did not create the forward; is the service IP Helper (iphlpsvc) running?' -Found ('{0} {1}' -f $answer.'state', $answer.'detail')
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    $answer = Invoke-Forward -Entries ''
    Assert-Equal -Expected 'partial port 2222 is still forwarded: Windows did not remove it; is the service IP Helper (iphlpsvc) running?' -Found ('{0} {1}' -f $answer.'state', $answer.'detail')
}

Test-Case -Name 'a listener of ours whose rule was removed by hand is no other program' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.Table = @{}
    $script:World.Listening = @{ '2222' = @('0.0.0.0') }
    $script:World.BindErrors = @{ '0.0.0.0/2222' = 10048 }
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'synced 1 0' -Found ('{0} {1} {2}' -f $answer.'state', $answer.'added', @($answer.'taken').Count)
}

Test-Case -Name 'rules that another program took are restored and named' -Body {
    $entries = '[6,2222,22,1],[6,2223,22,1]'
    $answer = Invoke-Forward -Entries $entries
    Assert-Equal -Expected '0 0' -Found ('{0} {1}' -f @($answer.'restored').Count, @($answer.'firewall'.'restored').Count)
    # One of two rules, and the other's of the firewall.
    $script:World.Table.Remove('0.0.0.0/2222')
    foreach ($rule in @(Find-WorldRules -Like '*-tcp-2223-portproxy')) { $script:World.Rules.Remove($rule) }
    # Also where they lead to another address by now.
    $script:World.GuestAddress = '172.28.16.9'
    $answer = Invoke-Forward -Entries $entries
    Assert-Equal -Expected 'synced 2' -Found ('{0} {1}' -f $answer.'state', $answer.'added')
    Assert-Equal -Expected '0.0.0.0:2222' -Found (@($answer.'restored' | ForEach-Object { '{0}:{1}' -f $_.'listen-address', $_.'listen-port' }) -join ' ')
    Assert-Equal -Expected 'the firewall rule for TCP port 2223' -Found (@($answer.'firewall'.'restored') -join ' ')
    $answer = Invoke-Forward -Entries $entries
    Assert-Equal -Expected '0 0' -Found ('{0} {1}' -f @($answer.'restored').Count, @($answer.'firewall'.'restored').Count)
}

Test-Case -Name 'a forward that is withdrawn after its rule was removed by hand is closed' -Body {
    # Hears of a rule that is made and removed, or of nothing.
    function Invoke-NetshScript {
        param([string[]] $Lines)
        $script:World.Turns += $Lines.Count
        Assert-Equal -Expected '172.28.16.5/22' -Found $script:World.Ledger['tcp/0.0.0.0/2222']
        if (-not $script:World.Deaf) { $script:World.Listening = @{} }
    }
    foreach ($case in @(
            @{ Deaf = $false; Owner = 'svchost'; State = 'synced'; Lines = 2; Ledger = 0 }
            # Known as ours until it is closed.
            @{ Deaf = $true; Owner = 'svchost'; State = 'partial'; Lines = 2; Ledger = 1 }
            @{ Deaf = $true; Owner = 'nginx'; State = 'synced'; Lines = 0; Ledger = 0 }
        )) {
        Reset-World
        $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
        $script:World.Listening = @{ '2222' = @('0.0.0.0') }
        $script:World.Owners = @{ Address = '0.0.0.0'; Port = 2222; Name = $case.Owner; Id = 4 }
        $script:World.Deaf = $case.Deaf
        $answer = Invoke-Forward -Entries ''
        Assert-Equal -Expected ('{0} {1} {2}' -f $case.State, $case.Lines, $case.Ledger) -Found ('{0} {1} {2}' -f $answer.'state', $script:World.Turns, @($script:World.Ledger.Keys -clike 'tcp/*').Count)
        if ($case.State -cne 'synced') {
            Assert-Equal -Expected 'port 2222 is still listened on; restart the service IP Helper (iphlpsvc) or Windows' -Found $answer.'detail'
        }
    }
}

Test-Case -Name 'rules and ledger are read once, and once more after a change' -Body {
    function Read-ProxyRules {
        $script:World.Turns += 1
        $script:World.Table.Clone()
    }
    foreach ($address in @('172.28.16.5', '')) {
        $script:World.GuestAddress = $address
        foreach ($entries in @('[6,2222,22,1]', '[6,2222,22,1],[6,2223,22,1]', '')) {
            $script:World.Turns = 0
            $before = Get-TableText -Table $script:World.Table
            [void] (Invoke-Forward -Entries $entries)
            Assert-Equal -Expected (1 + [int] ($before -cne (Get-TableText -Table $script:World.Table))) -Found $script:World.Turns
        }
        $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22' }
        $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    }
}

Test-Case -Name 'foreign rules stay, in the way or not' -Body {
    $script:World.Table = @{ '0.0.0.0/2222' = '10.0.0.1/80'; '*/2300' = 'host/1'; '10.1.1.1/9999' = 'x' }
    [void] (Invoke-Forward -Entries '')
    $before = Get-WorldText
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,2300,80,1]'
    Assert-Equal -Expected 'synced 0' -Found ('{0} {1}' -f $answer.'state', $answer.'added')
    Assert-Equal -Expected '2222 2300' -Found (@($answer.'conflicts' | ForEach-Object { $_.'listen-port' }) -join ' ')
    Assert-Equal -Expected $before -Found (Get-WorldText)
    $answer = Invoke-Forward -Entries ''
    Assert-Equal -Expected $before -Found (Get-WorldText)
}

Test-Case -Name 'a foreign rule for one address overlaps ours for all' -Body {
    $script:World.Table = @{ '192.168.50.10/2222' = '10.0.0.1/80' }
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected '192.168.50.10' -Found $answer.'conflicts'[0].'listen-address'
    Assert-Equal -Expected 1 -Found $script:World.Table.Count
}

Test-Case -Name 'a rule that somebody re-pointed is no longer ours' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.Table['0.0.0.0/2222'] = '10.0.0.1/22'
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 1 -Found @($answer.'conflicts').Count
    Assert-Equal -Expected '10.0.0.1/22' -Found $script:World.Table['0.0.0.0/2222']
    Assert-Equal -Expected 0 -Found @(Find-WorldRules -Like '*portproxy').Count
}

Test-Case -Name 'a crash between two rules is repaired' -Body {
    $script:World.LinesLeft = 1
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,2223,23,1]'
    Assert-Equal -Expected 'failed' -Found $answer.'state'
    Assert-Equal -Expected 1 -Found $script:World.Table.Count
    Assert-Equal -Expected 2 -Found $script:World.Ledger.Count
    $script:World.LinesLeft = 100
    $answer = Invoke-Forward -Entries '[6,2223,23,1]'
    Assert-Equal -Expected 'synced' -Found $answer.'state'
    Assert-Equal -Expected '0.0.0.0/2223=172.28.16.5/23' -Found (Get-TableText -Table $script:World.Table)
}

Test-Case -Name 'a crash while a rule is re-pointed keeps it ours' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.LinesLeft = 0
    $script:World.GuestAddress = '172.28.16.9'
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.Table['0.0.0.0/2222'] = '172.28.16.9/22'
    $script:World.LinesLeft = 100
    $answer = Invoke-Forward -Entries ''
    Assert-Equal -Expected 'synced 1' -Found ('{0} {1}' -f $answer.'state', $answer.'removed')
    Assert-Equal -Expected 0 -Found $script:World.Table.Count
}

Test-Case -Name 'what the relay serves is none of the task''s' -Body {
    $script:World.Policy = (Get-PolicySample).Replace('[1,1023],"firewall":"local","backend":"portproxy"', '[1,1023],"firewall":"local","backend":"auto"')
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,8080,80,1]'
    Assert-Equal -Expected '2222 backend' -Found (@($answer.'refused' | ForEach-Object { '{0} {1}' -f $_.'listen-port', $_.'reason' }) -join ';')
    Assert-Equal -Expected '127.0.0.1/8080' -Found (@($script:World.Table.Keys) -join ' ')
    $script:World.RelayValue = 'forbidden'
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,8080,80,1]'
    Assert-Equal -Expected 'synced 2' -Found ('{0} {1}' -f $answer.'state', @($answer.'rules').Count)
    Assert-Equal -Expected 'invalid-request' -Found (Invoke-Forward -Entries '[17,51820,51820,2]').'state'
}

Test-Case -Name 'outside the policy' -Body {
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,3000,22,1],[6,2222,5000,1]'
    Assert-Equal -Expected 'synced 1' -Found ('{0} {1}' -f $answer.'state', $answer.'added')
    Assert-Equal -Expected '3000/22 2222/5000' -Found (@($answer.'refused' | ForEach-Object { '{0}/{1}' -f $_.'listen-port', $_.'connect-port' }) -join ' ')
    Assert-Equal -Expected 'outside-policy' -Found $answer.'refused'[0].'reason'
}

Test-Case -Name 'address and firewall come from the grant' -Body {
    $answer = Invoke-Forward -Entries '[6,8080,80,1]'
    Assert-Equal -Expected '127.0.0.1' -Found $answer.'rules'[0].'listen-address'
    Assert-Equal -Expected 0 -Found @(Find-WorldRules -Like '*portproxy').Count
}

Test-Case -Name 'no policy' -Body {
    foreach ($policy in @('', '{', '[]', '{"version":2}', (Get-PolicySample).Replace('"tcp"', '"icmp"'), (Get-PolicySample).Replace('[2000,2999]', '[2999,2000]'))) {
        $script:World.Policy = $policy
        $before = Get-WorldText
        $answer = Invoke-Forward -Entries '[6,2222,22,1]'
        Assert-Equal -Expected 'failed' -Found $answer.'state'
        Assert-Equal -Expected $before -Found (Get-WorldText)
    }
}

Test-Case -Name 'the service is stopped' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.Service = $false
    $before = Get-TableText -Table $script:World.Table
    $answer = Invoke-Forward -Entries '[6,2223,22,1]'
    Assert-Equal -Expected 'service-stopped' -Found $answer.'state'
    Assert-Equal -Expected $before -Found (Get-TableText -Table $script:World.Table)
    # What is not made is not opened.
    Assert-Equal -Expected 0 -Found $answer.'firewall'.'added'
}

Test-Case -Name 'another sync holds the lock' -Body {
    $script:World.Lock = $false
    $before = Get-WorldText
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected 'failed 7' -Found ('{0} {1}' -f $answer.'state', $answer.'ticket')
    Assert-Equal -Expected $before -Found (Get-WorldText)
}

Test-Case -Name 'taken ports are told and not made' -Body {
    $script:World.BindErrors = @{ '0.0.0.0/2222' = 10048; '0.0.0.0/2223' = 10013; '0.0.0.0/2224' = 0; '0.0.0.0/2225' = 10048; '0.0.0.0/2226' = 10049 }
    $script:World.Listening = @{ '2222' = @('0.0.0.0'); '2224' = @('192.168.50.10'); '2225' = @('127.0.0.1', '::1'); '2227' = @('127.0.0.1', '::1', '::', 'fe80::1%5') }
    $script:World.Owners = @(
        @{ Address = '127.0.0.1'; Port = 2222; Name = 'wslrelay'; Id = 9 },
        @{ Address = '0.0.0.0'; Port = 2222; Name = 'nginx'; Id = 1234 }
    )
    $answer = Invoke-Forward -Entries '[6,2222,22,1],[6,2223,22,1],[6,2224,22,1],[6,2225,22,1],[6,2226,22,1],[6,2227,22,1]'
    Assert-Equal -Expected '2222 in-use nginx (1234);2223 forbidden ;2224 in-use ' -Found (@($answer.'taken' | ForEach-Object { '{0} {1} {2}' -f $_.'listen-port', $_.'kind', $_.'owner' }) -join ';')
    Assert-Equal -Expected '0.0.0.0/2225 0.0.0.0/2226 0.0.0.0/2227' -Found (@($script:World.Table.Keys | Sort-Object) -join ' ')
    Assert-Equal -Expected 3 -Found @(Find-WorldRules -Like '*portproxy').Count
}

Test-Case -Name 'listeners in the words of netstat' -Body {
    $text = "`r`nAktive Verbindungen`r`n`r`n  Proto  Lokale Adresse         Remoteadresse          Status           PID`r`n" +
        "  TCP    0.0.0.0:2222           0.0.0.0:0              ABH\u00d6REN         1234`r`n  TCP    127.0.0.1:5357         0.0.0.0:0              EN ESCUCHA       4`r`n" +
        "  TCP    192.168.50.10:2222     10.0.0.1:50000         HERGESTELLT      99`r`n  UDP    0.0.0.0:123            *:*                                    7`r`n"
    Assert-Equal -Expected '0.0.0.0/2222/1234 127.0.0.1/5357/4' -Found (@(ConvertFrom-Netstat -Text $text -Protocol 'tcp' | ForEach-Object { '{0}/{1}/{2}' -f $_.Address, $_.Port, $_.Id }) -join ' ')
    Assert-Equal -Expected 0 -Found @(ConvertFrom-Netstat -Text 'no such option' -Protocol 'tcp').Count
}

Test-Case -Name 'a rule that stands is not tried' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.BindErrors = @{ '0.0.0.0/2222' = 10048 }
    $script:World.GuestAddress = '172.28.16.9'
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected '1 0' -Found ('{0} {1}' -f $answer.'added', @($answer.'taken').Count)
}

Test-Case -Name 'a port of ours is not tried for another address' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]')
    $script:World.Policy = (Get-PolicySample).Replace('"0.0.0.0","listen-ports":[2000', '"192.168.50.10","listen-ports":[2000')
    $script:World.BindErrors = @{ '192.168.50.10/2222' = 10048 }
    $answer = Invoke-Forward -Entries '[6,2222,22,1]'
    Assert-Equal -Expected '1 1 0' -Found ('{0} {1} {2}' -f $answer.'added', $answer.'removed', @($answer.'taken').Count)
}

Test-Case -Name 'five hundred forwards in one batch' -Body {
    $entries = @(for ($port = 2000; $port -lt 2500; $port += 1) { '[6,' + $port + ',22,1]' }) -join ','
    $answer = Invoke-Forward -Entries $entries
    Assert-Equal -Expected 'synced 500' -Found ('{0} {1}' -f $answer.'state', $answer.'added')
    Assert-Equal -Expected 500 -Found $script:World.Table.Count
}
