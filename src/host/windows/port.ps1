#Requires -Version 5.1
# port.ps1: what Windows knows of one port: who listens there, which rules are about it, and whether it answers. A JSON
# request on standard input, one JSON answer on standard output, exit code 0 whenever an answer was printed. It needs no
# rights and changes nothing.

# The stream that this script came by; none where it is a file.
param($Stream)

# Rules and listeners of an answer are that many at most.
$Most = 50

function Select-Most {
    param([object[]] $Items)
    for ($place = 0; ($place -lt $Items.Count) -and ($place -lt $Most); $place += 1) { $Items[$place] }
}

# Request text -> what is asked. Without an address of the guest nothing there is connected to.
function ConvertTo-PortRequest {
    param([string] $Text)
    $request = ConvertFrom-RequestText -Text $Text -Place 'request'
    Assert-Fields -Object $request -Place 'request' -Fields @{
        'version' = @(1, 1); 'action' = @('look'); 'protocol' = @('tcp', 'udp'); 'served-by' = @('portproxy', 'relay', 'guest')
        'listen-address' = $ListenPattern; 'listen-port' = @(1, 65535)
        'connect-address' = '\A\z|' + $GuestPattern; 'connect-port' = @(1, 65535)
    }
    @{
        Protocol = $request.'protocol'; ServedBy = $request.'served-by'; Address = $request.'listen-address'
        Port = [int] $request.'listen-port'; Guest = $request.'connect-address'; ConnectPort = [int] $request.'connect-port'
    }
}

# The programs that listen at the port.
function Get-PortOwners {
    param([hashtable] $Request)
    $owners = @(Get-WinPortOwners -Protocol $Request.Protocol | Where-Object { $_.Port -eq $Request.Port })
    foreach ($owner in @(Select-Most -Items $owners)) {
        [ordered] @{ 'address' = $owner.Address; 'process' = $owner.Name; 'id' = $owner.Id }
    }
}

# The range of ports with the port that Windows gives to no program, or $null: two numbers a line. One with an asterisk
# is an administrator's, who keeps it free for a program that names its port.
function Find-ExcludedRange {
    param([string] $Text, [int] $Port)
    foreach ($line in [regex]::Matches($Text, '(?m)^\s*(?<first>[0-9]{1,5})\s+(?<last>[0-9]{1,5})\s*$')) {
        $range = @([int] $line.Groups['first'].Value, [int] $line.Groups['last'].Value)
        if (($Port -ge $range[0]) -and ($Port -le $range[1])) { return $range }
    }
}

# First and last of the ports that Windows hands out by itself: the text's two numbers are the first and how many.
function ConvertTo-DynamicRange {
    param([string] $Text)
    $numbers = @([regex]::Matches($Text, '(?m)[\s:](?<number>[0-9]{1,5})\s*$') | ForEach-Object { [int] $_.Groups['number'].Value })
    if (($numbers.Count -ne 2) -or ($numbers[1] -eq 0)) { throw 'netsh does not show the dynamic range of ports in a form that is known' }
    @($numbers[0], ($numbers[0] + $numbers[1] - 1))
}

# Rules of the port proxy at the port, and those of other ports that lead to Windows itself, by which a connection may
# come back.
function Get-PortRules {
    param([hashtable] $Request, [string[]] $Addresses, [string] $Sid)
    if ($Request.Protocol -cne 'tcp') { return }
    $owned = (Read-Rules -Sid $Sid).Owned
    $rules = @(foreach ($kind in @('v4tov4', 'v4tov6', 'v6tov4', 'v6tov6')) {
        $values = Select-Named -Values (Get-WinRegistryValues -Path $ProxyPath.Replace('v4tov4', $kind)) -Pattern '\A[^/]{1,255}/[1-9][0-9]{0,4}\z'
        foreach ($listener in @($values.Keys | Sort-Object)) {
            $rule = ConvertTo-Rule -Listener $listener -Target $values[$listener]
            $back = ($Addresses -contains $rule['connect-address']) -or ([string] $rule['connect-address'] -match '\A(?:127\.|::1\z|localhost\z)')
            if (($rule['listen-port'] -ne $Request.Port) -and (-not $back)) { continue }
            if (($kind -clike 'v6*') -and ($listener -clike '[*]/*')) { $rule['listen-address'] = '::' }
            $rule['ours'] = ($kind -ceq 'v4tov4') -and $owned.ContainsKey($listener)
            $rule
        }
    })
    Select-Most -Items @($rules | Sort-Object -Property { $_['listen-port'] -ne $Request.Port })
}

# The rule that would let clients in to what listens at the port, or is to listen there.
function New-PortRule {
    param([hashtable] $Request, [object[]] $Owners, [int] $Profiles)
    $forward = @{ Protocol = $Request.Protocol; Address = $Request.Address; Firewall = 'full' }
    $rule = New-FirewallRule -Forward $forward -Ports ([string] $Request.Port) -ServedBy $Request.ServedBy -Sid '' -Profiles $Profiles
    $owner = @($Owners | Where-Object { Test-Overlap -Address $Request.Address -Holder $_['address'] })
    if ($owner.Count -gt 0) {
        $path = Get-WinProcessPath -Id $owner[0]['id']
        if ($path -cne '') {
            $rule.Program = $path
            $rule.Service = ''
        }
    }
    $rule
}

# Names of those of these rules that hold for this one.
function Find-PortNames {
    param([hashtable] $Rule, [object[]] $Rules)
    $about = @($Rules | Where-Object { (Test-Block -Rule $Rule -Block $_) -and (Test-PortList -List $_.LocalPorts -Ports $Rule.Ports) })
    foreach ($found in @(Select-Most -Items $about)) { $found.Name }
}

# The firewall's rules about the port in the networks of now. Where Windows' own rules do not hold for guests, their own
# do: those that a setup made are in the ledger.
function Get-PortFirewall {
    param([hashtable] $Request, [object[]] $Owners, [string] $Sid)
    $read = Get-WinFirewall -Names @{} -Blocking $true -Allowing $true
    $rule = New-PortRule -Request $Request -Owners $Owners -Profiles ($read.Current -band 7)
    $names = @{}
    if ($Request.ServedBy -ceq 'guest') { $names = Select-Names -Wanted @{} -Ledger (Read-FirewallLedger -Sid $Sid) -Store 'hyper-v' }
    $allows = @($read.Allows)
    if ($names.Count -gt 0) {
        $allows = @(foreach ($found in (Get-WinGuestRules -Names $names).Values) { $found })
        $allows = @($allows | Where-Object { $_.Enabled -and $_.Inbound -and $_.Allow })
    }
    [ordered] @{
        'allows' = @(Find-PortNames -Rule $rule -Rules $allows); 'blocks' = @(Find-PortNames -Rule $rule -Rules @($read.Blocks)); 'shut' = @($read.Shut); 'profiles' = @(ConvertTo-ProfileNames -Bits $read.Current)
        'open' = $read.Open; 'override' = $read.Override
    }
}

# Whether the policy covers the port; $null where there is none.
function Test-PortPolicy {
    param([hashtable] $Request, [string] $Sid)
    if ((Get-OwnValue -Sid $Sid -Name 'policy') -ceq '') { return $null }
    $policy = Get-InstalledPolicy -Sid $Sid
    $null -ne (Find-Grant -Policy $policy -Protocol $Request.Protocol -ListenPort $Request.Port -ConnectPort $Request.ConnectPort)
}

# Connections from Windows: to the guest, to Windows' own listener, and to the address that the network knows.
function Get-PortConnects {
    param([hashtable] $Request, $Address)
    if ($Request.Protocol -cne 'tcp') { return }
    $listener = $Request.Address.Replace('0.0.0.0', '127.0.0.1')
    $ends = [ordered] @{}
    if ($Request.Guest -cne '') { $ends['guest'] = '{0}/{1}' -f $Request.Guest, $Request.ConnectPort }
    $ends['listener'] = '{0}/{1}' -f $listener, $Request.Port
    if (($null -ne $Address) -and ($Request.Address -ceq '0.0.0.0')) { $ends['network'] = '{0}/{1}' -f $Address, $Request.Port }
    $codes = @(Get-WinConnects -Endpoints @($ends.Values) -Milliseconds 4000)
    $place = 0
    foreach ($name in @($ends.Keys)) {
        $end = $ends[$name].Split('/')
        [ordered] @{ 'to' = $name; 'address' = $end[0]; 'port' = [int] $end[1]; 'code' = $codes[$place] }
        $place += 1
    }
}

function New-PortAnswer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1; 'state' = $State; 'detail' = $Detail; 'problems' = @()
        'owners' = $null; 'excluded' = $null; 'dynamic' = $null; 'rules' = $null; 'firewall' = $null; 'allowed' = $null
        'addresses' = @(); 'windows-address' = $null; 'connects' = $null
    }
}

# Fills in one part of the answer.
function Set-PortPart {
    param([string] $Part, [hashtable] $Request, [System.Collections.IDictionary] $Answer, [string] $Sid)
    switch ($Part) {
        'owners' {
            $script:Step = 'look who listens at the port'
            $Answer[$Part] = @(Get-PortOwners -Request $Request)
        }
        'excluded' {
            $script:Step = 'ask for the excluded ranges of ports'
            $Answer[$Part] = Find-ExcludedRange -Text (Get-WinPortText -What 'excludedportrange' -Protocol $Request.Protocol) -Port $Request.Port
        }
        'dynamic' {
            $script:Step = 'ask for the dynamic range of ports'
            $Answer[$Part] = ConvertTo-DynamicRange -Text (Get-WinPortText -What 'dynamicport' -Protocol $Request.Protocol)
        }
        'rules' {
            $script:Step = 'read the rules of the port proxy'
            $Answer[$Part] = @(Get-PortRules -Request $Request -Addresses $Answer['addresses'] -Sid $Sid)
        }
        'firewall' {
            $script:Step = 'read the firewall'
            $Answer[$Part] = Get-PortFirewall -Request $Request -Owners @($Answer['owners'] | Where-Object { $null -ne $_ }) -Sid $Sid
        }
        'allowed' {
            $script:Step = 'read the policy'
            $Answer[$Part] = Test-PortPolicy -Request $Request -Sid $Sid
        }
        'connects' {
            $script:Step = 'connect to the port'
            $Answer[$Part] = @(Get-PortConnects -Request $Request -Address $Answer['windows-address'])
        }
    }
}

function Get-PortAnswer {
    param([string] $Text)
    $script:Step = 'check the request'
    $request = ConvertTo-PortRequest -Text $Text
    $answer = New-PortAnswer -State 'looked' -Detail $null
    $script:Step = 'find out who runs this'
    $sid = (Get-WinCaller).Sid
    $script:Step = 'look at the network interfaces'
    $answer['windows-address'] = (Get-NetworkFacts).Address
    $answer['addresses'] = @(foreach ($interface in @(Get-WinInterfaces | Where-Object { $_.Up })) { $interface.Addresses })
    foreach ($part in @('owners', 'excluded', 'dynamic', 'rules', 'firewall', 'allowed', 'connects')) {
        try {
            Set-PortPart -Part $part -Request $request -Answer $answer -Sid $sid
        } catch {
            # It stays unknown, and the other parts are found out.
            $answer['problems'] += Format-Failure -Step $script:Step -Failure $_
        }
    }
    $answer
}

function Get-PortAnswerText {
    try {
        $script:Step = 'read standard input'
        $answer = Get-PortAnswer -Text ([System.Text.Encoding]::UTF8.GetString((Read-WinInput -Stream $Stream).Bytes))
    } catch [System.IO.InvalidDataException] {
        $answer = New-PortAnswer -State 'invalid-request' -Detail (Format-Failure -Step $script:Step -Failure $_)
    } catch {
        $answer = New-PortAnswer -State 'failed' -Detail (Format-Failure -Step $script:Step -Failure $_)
    }
    ConvertTo-AsciiJson -Answer $answer
}

function Invoke-Script {
    Assert-Language -Code 0
    Write-WinOutput -Text ((Get-PortAnswerText) + "`n")
    exit 0
}

# The file that a process runs; '' where it is another account's, or has ended.
function Get-WinProcessPath {
    param([int] $Id)
    try {
        [string] [System.Diagnostics.Process]::GetProcessById($Id).MainModule.FileName
    } catch {
        # Windows shows those of this account alone, and of this moment.
        ''
    }
}

# What netsh shows of a protocol's ports ('excludedportrange', 'dynamicport'). Its words are localised, its numbers
# are not.
function Get-WinPortText {
    param([string] $What, [string] $Protocol)
    $run = Invoke-WinProgram -Path ((Get-KnownFolder -Name 'System') + '\netsh.exe') -Arguments ('interface ipv4 show {0} {1}' -f $What, $Protocol) -Seconds 5
    if ($null -ne $run.Error) { throw ('netsh did not show its ports ({0}); try again' -f $run.Error) }
    $run.Text
}

# Connects to each 'address/port', to all at once, and closes what comes about: Windows' number of the failure in
# their order, 0 for a connection, 10060 also where nothing answers in this time.
function Get-WinConnects {
    param([string[]] $Endpoints, [int] $Milliseconds)
    $clock = New-WinClock
    $runs = @(foreach ($endpoint in $Endpoints) {
        $to = $endpoint.Split('/')
        $socket = New-Object System.Net.Sockets.Socket([System.Net.Sockets.AddressFamily]::InterNetwork,
            [System.Net.Sockets.SocketType]::Stream, [System.Net.Sockets.ProtocolType]::Tcp)
        $target = New-Object System.Net.IPEndPoint([System.Net.IPAddress]::Parse($to[0]), [int] $to[1])
        $run = @{ Socket = $socket; Connect = $null; Code = 0 }
        try {
            $run.Connect = $socket.BeginConnect($target, $null, $null)
        } catch {
            $run.Code = Get-WinSocketError -Failure $_
        }
        $run
    })
    foreach ($run in $runs) {
        try {
            if ($null -eq $run.Connect) {
                $run.Code
            } elseif ($run.Connect.AsyncWaitHandle.WaitOne([int] [Math]::Max(1, $Milliseconds - $clock.ElapsedMilliseconds))) {
                $run.Socket.EndConnect($run.Connect)
                0
            } else {
                10060
            }
        } catch {
            Get-WinSocketError -Failure $_
        } finally {
            $run.Socket.Dispose()
        }
    }
}
