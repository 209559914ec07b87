# port.ps1: one port, with a Windows of tables.

# The answer to a request with these fields in the place of the usual ones.
function Get-Answer {
    param([hashtable] $Fields)
    $request = [ordered] @{
        'version' = 1; 'action' = 'look'; 'protocol' = 'tcp'; 'served-by' = 'relay'; 'listen-address' = '0.0.0.0'; 'listen-port' = 2222
        'connect-address' = '172.28.16.5'; 'connect-port' = 22
    }
    foreach ($name in $Fields.Keys) { $request[$name] = $Fields[$name] }
    $script:World.Input = ConvertTo-Json -InputObject $request -Compress
    ConvertFrom-Json -InputObject (Get-PortAnswerText)
}

# What each connection came to.
function Get-Ends {
    param($Answer)
    @($Answer.'connects' | ForEach-Object { '{0} {1}:{2} {3}' -f $_.'to', $_.'address', $_.'port', $_.'code' }) -join '; '
}

Test-Case -Name 'nothing is there' -Body {
    $script:World.Policy = ''
    $answer = Get-Answer -Fields @{}
    Assert-Equal -Expected 'looked' -Found $answer.'state'
    Assert-Equal -Expected '' -Found ($answer.'problems' -join ' ')
    Assert-Equal -Expected '0 0' -Found ('{0} {1}' -f @($answer.'owners').Count, @($answer.'rules').Count)
    Assert-Equal -Expected '' -Found $answer.'excluded'
    Assert-Equal -Expected '1024 65534' -Found ($answer.'dynamic' -join ' ')
    Assert-Equal -Expected '' -Found $answer.'allowed'
    Assert-Equal -Expected '192.168.50.10' -Found $answer.'windows-address'
    Assert-Equal -Expected 'guest 172.28.16.5:22 0; listener 127.0.0.1:2222 0; network 192.168.50.10:2222 0' -Found (Get-Ends -Answer $answer)
}

Test-Case -Name 'who listens, by protocol and port' -Body {
    $script:World.Owners = @(
        @{ Address = '0.0.0.0'; Port = 2222; Id = 1234; Name = 'nginx' }, @{ Address = '::'; Port = 2222; Id = 1234; Name = 'nginx' }, @{ Address = '0.0.0.0'; Port = 22; Id = 9; Name = 'sshd' }
    )
    $script:World.OwnersUdp = @(@{ Address = '0.0.0.0'; Port = 2222; Id = 4; Name = 'System' })
    Assert-Equal -Expected '0.0.0.0 nginx 1234; :: nginx 1234' -Found (@((Get-Answer -Fields @{}).'owners' | ForEach-Object { '{0} {1} {2}' -f $_.'address', $_.'process', $_.'id' }) -join '; ')
    $answer = Get-Answer -Fields @{ 'protocol' = 'udp' }
    Assert-Equal -Expected 'System' -Found (@($answer.'owners' | ForEach-Object { $_.'process' }) -join ' ')
    # A datagram proves nothing, and the port proxy has none.
    Assert-Equal -Expected '0 0' -Found ('{0} {1}' -f @($answer.'connects').Count, @($answer.'rules').Count)
}

Test-Case -Name 'the sockets of all four tables in the words of netstat' -Body {
    $text = "  TCP    0.0.0.0:2222     0.0.0.0:0    ABH\u00d6REN   1234`r`n  TCP    [::]:2222     [::]:0    ABH\u00d6REN   1234`r`n" +
        "  TCP    [fe80::1%12]:139   [fe80::2%12]:5   HERGESTELLT  9`r`n  UDP    0.0.0.0:123      *:*               7`r`n  UDP    [fe80::1%12]:546  *:*    8`r`n"
    foreach ($case in @(@('tcp', '0.0.0.0/2222/1234 ::/2222/1234'), @('udp', '0.0.0.0/123/7 fe80::1%12/546/8'))) {
        Assert-Equal -Expected $case[1] -Found (@(ConvertFrom-Netstat -Text $text -Protocol $case[0] | ForEach-Object { '{0}/{1}/{2}' -f $_.Address, $_.Port, $_.Id }) -join ' ')
    }
}

Test-Case -Name 'excluded ranges, but for those of an administrator' -Body {
    foreach ($case in @(@(50100, '50100 50159'), @(50159, '50100 50159'), @(50160, ''), @(50000, ''), @(5357, '5357 5357'))) {
        Assert-Equal -Expected $case[1] -Found ((Get-Answer -Fields @{ 'listen-port' = $case[0] }).'excluded' -join ' ')
    }
}

Test-Case -Name 'what cannot be asked for is said, and the rest is there' -Body {
    $script:World.PortText = @{ 'dynamicport' = "Der Befehl wurde nicht gefunden.`r`n" }
    $answer = Get-Answer -Fields @{}
    Assert-Equal -Expected 'netsh did not show its ports (still running after 5 s); try again (tcp)|netsh does not show the dynamic range of ports in a form that is known' -Found ($answer.'problems' -join '|')
    Assert-Equal -Expected '' -Found ('{0}{1}' -f $answer.'excluded', $answer.'dynamic')
    Assert-Equal -Expected 3 -Found @($answer.'connects').Count
}

Test-Case -Name 'rules at the port, ours and others, and those that come back to Windows' -Body {
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22'; '127.0.0.1/2222' = 'nas.example/80'; '0.0.0.0/8080' = '192.168.50.10/2222'; '*/9000' = 'localhost/9000'; '0.0.0.0/7777' = '10.0.0.9/77' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    $script:World.TableV6 = @{ '*/2222' = '127.0.0.1/2222' }
    $lines = @((Get-Answer -Fields @{}).'rules' | ForEach-Object { '{0} {1} {2} {3} {4}' -f $_.'listen-address', $_.'listen-port', $_.'connect-address', $_.'connect-port', $_.PSObject.Properties['ours'].Value })
    Assert-Equal -Expected '0.0.0.0 2222 172.28.16.5 22 True|127.0.0.1 2222 nas.example 80 False|:: 2222 127.0.0.1 2222 False' -Found ($lines[0..2] -join '|')
    Assert-Equal -Expected '0.0.0.0 8080 192.168.50.10 2222 False|0.0.0.0 9000 localhost 9000 False' -Found (@($lines[3], $lines[4] | Sort-Object) -join '|')
}

# A rule that lets in what a rule sample blocks.
function Add-Rule {
    param([string] $Name, [hashtable] $Fields)
    $rule = New-RuleSample -Name $Name
    $rule.Allow = $true
    foreach ($field in $Fields.Keys) { $rule[$field] = $Fields[$field] }
    [void] $script:World.Rules.Add($rule)
}

Test-Case -Name 'the firewall''s rules for what listens, in the networks of now' -Body {
    Add-Rule -Name 'any program' -Fields @{}
    Add-Rule -Name 'the relay' -Fields @{ Program = $script:World.Relay; LocalPorts = '*' }
    Add-Rule -Name 'nginx' -Fields @{ Program = 'C:\nginx\nginx.exe' }
    Add-Rule -Name 'the port proxy' -Fields @{ Program = 'C:\Windows\System32\svchost.exe'; Service = 'iphlpsvc' }
    Add-Rule -Name 'public' -Fields @{ Profiles = 4 }
    Add-Rule -Name 'one machine' -Fields @{ Remote = '10.0.0.1' }
    Add-Rule -Name 'another port' -Fields @{ LocalPorts = '2223-2230' }
    [void] $script:World.Rules.Add((New-RuleSample -Name 'shut'))
    $firewall = (Get-Answer -Fields @{}).'firewall'
    Assert-Equal -Expected 'any program, the relay' -Found ($firewall.'allows' -join ', ')
    Assert-Equal -Expected 'shut private False' -Found ('{0} {1} {2}' -f ($firewall.'blocks' -join ', '), ($firewall.'profiles' -join ' '), $firewall.'open')
    Assert-Equal -Expected 'any program, the port proxy' -Found ((Get-Answer -Fields @{ 'served-by' = 'portproxy' }).'firewall'.'allows' -join ', ')
    Assert-Equal -Expected 'any program' -Found ((Get-Answer -Fields @{ 'served-by' = 'guest' }).'firewall'.'allows' -join ', ')
    # The program that has the port is the one that counts.
    $script:World.Owners = @(@{ Address = '0.0.0.0'; Port = 2222; Id = 1234; Name = 'nginx' })
    $script:World.Paths = @{ 1234 = 'C:\nginx\nginx.exe' }
    Assert-Equal -Expected 'any program, nginx' -Found ((Get-Answer -Fields @{}).'firewall'.'allows' -join ', ')
}

Test-Case -Name 'a guest whose firewall is its own' -Body {
    Add-Rule -Name 'any program' -Fields @{}
    $name = 'wslmesh-{0}-tcp-2222-hyperv' -f $script:World.Sid
    $script:World.Ledger = @{ ('firewall/' + $name) = 'hyper-v' }
    Assert-Equal -Expected '' -Found ((Get-Answer -Fields @{ 'served-by' = 'guest' }).'firewall'.'allows' -join ', ')
    $rule = New-RuleSample -Name $name
    $rule.Allow = $true
    [void] $script:World.HyperV.Add($rule)
    Assert-Equal -Expected $name -Found ((Get-Answer -Fields @{ 'served-by' = 'guest' }).'firewall'.'allows' -join ', ')
}

Test-Case -Name 'what the policy covers' -Body {
    $script:World.Policy = Get-PolicySample
    Assert-Equal -Expected 'True' -Found (Get-Answer -Fields @{}).'allowed'
    Assert-Equal -Expected 'False' -Found (Get-Answer -Fields @{ 'listen-port' = 9000 }).'allowed'
    $script:World.Policy = 'C:\secret'
    $answer = Get-Answer -Fields @{}
    Assert-Equal -Expected 'the policy in the registry is damaged; run "wslmesh host install" again' -Found ($answer.'problems' -join ' ')
}

Test-Case -Name 'an address of Windows alone, and no guest' -Body {
    $script:World.Connects = @{ 'tcp/192.168.50.10/2222' = 10061 }
    $answer = Get-Answer -Fields @{ 'connect-address' = ''; 'listen-address' = '192.168.50.10' }
    Assert-Equal -Expected 'listener 192.168.50.10:2222 10061' -Found (Get-Ends -Answer $answer)
}

Test-Case -Name 'a test watches connections, and sends datagrams' -Body {
    $script:World.Closes = @('127.0.0.1/2222')
    $connects = @((Get-Answer -Fields @{ 'action' = 'test' }).'connects')
    Assert-Equal -Expected 'guest 3 False; listener 3 True; network 3 False' -Found (@($connects | ForEach-Object { '{0} {1} {2}' -f $_.'to', $_.'milliseconds', $_.'closed' }) -join '; ')
    Assert-Equal -Expected $false -Found @((Get-Answer -Fields @{}).'connects')[1].'closed'
    $script:World.Connects = @{ 'udp/172.28.16.5/22' = 10054; 'udp/127.0.0.1/2222' = 10060 }
    Assert-Equal -Expected 'guest 172.28.16.5:22 10054; listener 127.0.0.1:2222 10060' -Found (Get-Ends -Answer (Get-Answer -Fields @{ 'action' = 'test'; 'protocol' = 'udp' }))
}

Test-Case -Name 'what listens on both families is tried by both' -Body {
    $both = 'guest 172.28.16.5:22 0; listener 127.0.0.1:2222 0; listener ::1:2222 10061; network 192.168.50.10:2222 0; network 2001:db8::10:2222 0'
    $script:World.Connects = @{ 'tcp/::1/2222' = 10061 }
    Assert-Equal -Expected $both -Found (Get-Ends -Answer (Get-Answer -Fields @{ 'listen-address' = '::' }))
    # Windows' own ::1 does not lead into a guest.
    $answer = Get-Answer -Fields @{ 'listen-address' = '::'; 'served-by' = 'guest' }
    Assert-Equal -Expected 'guest 172.28.16.5:22 0; listener 127.0.0.1:2222 0; network 192.168.50.10:2222 0' -Found (Get-Ends -Answer $answer)
    $answer = Get-Answer -Fields @{ 'listen-address' = '::'; 'protocol' = 'udp'; 'action' = 'test' }
    Assert-Equal -Expected 'guest 172.28.16.5:22 0; listener 127.0.0.1:2222 0; listener ::1:2222 0' -Found (Get-Ends -Answer $answer)
    Assert-Equal -Expected 'listener ::1:2222 10061' -Found (Get-Ends -Answer (Get-Answer -Fields @{ 'listen-address' = '::1'; 'connect-address' = '' }))
}

# The script's own functions in the place of the double's, on loopback of the machine that runs this.
function Get-RealConnects {
    param([string] $Protocol, [string[]] $Endpoints, [int] $Watch)
    $source = (Get-Command -Name 'Get-PortConnects').ScriptBlock.File
    . $source
    Get-WinConnects -Protocol $Protocol -Endpoints $Endpoints -Milliseconds 4000 -Watch $Watch
}

Test-Case -Name 'real connections, each with a time of its own' -Body {
    $open = New-Object System.Net.Sockets.TcpListener([System.Net.IPAddress]::Loopback, 0)
    $closed = New-Object System.Net.Sockets.TcpListener([System.Net.IPAddress]::Loopback, 0)
    $open.Start()
    $closed.Start()
    $ends = @(('127.0.0.1/{0}' -f $closed.LocalEndpoint.Port), ('127.0.0.1/{0}' -f $open.LocalEndpoint.Port))
    $closed.Stop()
    try {
        foreach ($watch in @(0, 200)) {
            # Windows takes two seconds to refuse.
            $results = @(Get-RealConnects -Protocol 'tcp' -Endpoints $ends -Watch $watch)
            Assert-Equal -Expected '10061 False; 0 False' -Found (@($results | ForEach-Object { '{0} {1}' -f $_.Code, $_.Closed }) -join '; ')
            Assert-True -Found ($results[1].Milliseconds -lt 1500) -What ('{0} ms' -f $results[1].Milliseconds)
        }
    } finally {
        $open.Stop()
    }
}

Test-Case -Name 'real datagrams' -Body {
    $silent = New-Object System.Net.Sockets.UdpClient(0)
    $closed = New-Object System.Net.Sockets.UdpClient(0)
    $ends = @(('127.0.0.1/{0}' -f $silent.Client.LocalEndPoint.Port), ('127.0.0.1/{0}' -f $closed.Client.LocalEndPoint.Port))
    $closed.Dispose()
    try {
        $results = @(Get-RealConnects -Protocol 'udp' -Endpoints $ends -Watch 300)
        Assert-Equal -Expected 10060 -Found $results[0].Code
        # Windows says that a datagram came back by a reset, other systems that it was refused.
        Assert-True -Found (@(10054, 10061) -contains $results[1].Code) -What $results[1].Code
    } finally {
        $silent.Dispose()
    }
}

Test-Case -Name 'requests that are refused' -Body {
    foreach ($case in @(
        @('listen-port', 0, 'listen-port: must be an integer from 1 to 65535'), @('listen-port', '2222', 'listen-port: must be an integer from 1 to 65535'),
        @('protocol', 'sctp', 'protocol: must be one of tcp, udp'), @('action', 'forward', 'action: must be one of look, test'), @('connect-address', '127.0.0.1', 'connect-address: not of the form that is allowed here'),
        @('connect-address', 'a"b', 'connect-address: not of the form that is allowed here'), @('listen-address', '224.0.0.1', 'listen-address: not of the form that is allowed here'),
        @('more', 1, ': unknown field "more"')
    )) {
        $answer = Get-Answer -Fields @{ $case[0] = $case[1] }
        Assert-Equal -Expected 'invalid-request' -Found $answer.'state'
        Assert-True -Found ($answer.'detail' -clike ('*' + $case[2])) -What $answer.'detail'
    }
}
