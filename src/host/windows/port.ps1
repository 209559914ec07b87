#Requires -Version 5.1
# port.ps1: what Windows knows of one port: who listens there, which rules are about it, and whether it answers. A JSON
# request on standard input, one JSON answer on standard output, exit code 0 whenever an answer was printed. It needs no
# rights and changes nothing. A test also watches whether a connection is closed at once, and sends an empty datagram
# where the protocol is UDP.

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
        'version' = @(1, 1); 'action' = @('look', 'test'); 'protocol' = @('tcp', 'udp'); 'served-by' = @('portproxy', 'relay', 'guest')
        'listen-address' = $ListenPattern; 'listen-port' = @(1, 65535)
        'connect-address' = '\A\z|' + $GuestPattern; 'connect-port' = @(1, 65535)
    }
    @{
        Protocol = $request.'protocol'; ServedBy = $request.'served-by'; Address = $request.'listen-address'
        Port = [int] $request.'listen-port'; Guest = $request.'connect-address'; ConnectPort = [int] $request.'connect-port'
        Test = $request.'action' -ceq 'test'
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

# Connections from Windows: to the guest, to Windows' own listener, and to the addresses that the network knows. By UDP
# that is a datagram, of a test alone, which Windows sends to itself once by each family.
function Get-PortConnects {
    param([hashtable] $Request, [hashtable] $Network)
    $datagram = $Request.Protocol -ceq 'udp'
    if ($datagram -and (-not $Request.Test)) { return }
    $listeners = @($Request.Address)
    $known = @()
    if (Test-Wildcard -Address $Request.Address) {
        $listeners = @('127.0.0.1')
        if (-not $datagram) { $known = @($Network.Address) }
        # What listens on both families may fail by one. Windows' own ::1 does not lead into a guest.
        if (($Request.Address -ceq '::') -and ($Request.ServedBy -cne 'guest')) {
            $listeners += '::1'
            if (-not $datagram) { $known += $Network.Address6 }
        }
    }
    $ends = @()
    if ($Request.Guest -cne '') { $ends += 'guest/{0}/{1}' -f $Request.Guest, $Request.ConnectPort }
    foreach ($address in $listeners) { $ends += 'listener/{0}/{1}' -f $address, $Request.Port }
    foreach ($address in @($known | Where-Object { $null -ne $_ })) { $ends += 'network/{0}/{1}' -f $address, $Request.Port }
    $watch = 0
    # A connection that is refused takes Windows two seconds, as it tries thrice: the relay and the port proxy close
    # their client after that.
    if ($Request.Test) { $watch = 3000 }
    $endpoints = @($ends | ForEach-Object { $_.Substring($_.IndexOf('/') + 1) })
    $results = @(Get-WinConnects -Protocol $Request.Protocol -Endpoints $endpoints -Milliseconds 4000 -Watch $watch)
    for ($place = 0; $place -lt $ends.Count; $place += 1) {
        $end = $ends[$place].Split('/')
        $result = $results[$place]
        [ordered] @{
            'to' = $end[0]; 'address' = $end[1]; 'port' = [int] $end[2]; 'code' = $result.Code
            'milliseconds' = $result.Milliseconds; 'closed' = $result.Closed
        }
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
    param([string] $Part, [hashtable] $Request, [System.Collections.IDictionary] $Answer, [hashtable] $Network, [string] $Sid)
    switch ($Part) {
        'owners' {
            $script:Step = 'look who listens at the port'
            $Answer[$Part] = @(Get-PortOwners -Request $Request)
        }
        'excluded' {
            $script:Step = 'ask for the excluded ranges of ports'
            $Answer[$Part] = Find-ExcludedRange -Text (Get-WinPortText -What 'excludedportrange' -Protocol $Request.Protocol -Seconds 5) -Port $Request.Port
        }
        'dynamic' {
            $script:Step = 'ask for the dynamic range of ports'
            $Answer[$Part] = ConvertTo-DynamicRange -Text (Get-WinPortText -What 'dynamicport' -Protocol $Request.Protocol -Seconds 5)
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
            $Answer[$Part] = @(Get-PortConnects -Request $Request -Network $Network)
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
    $network = Get-NetworkFacts
    $answer['windows-address'] = $network.Address
    $answer['addresses'] = @(foreach ($interface in @(Get-WinInterfaces | Where-Object { $_.Up })) { $interface.Addresses })
    foreach ($part in @('owners', 'excluded', 'dynamic', 'rules', 'firewall', 'allowed', 'connects')) {
        try {
            Set-PortPart -Part $part -Request $request -Answer $answer -Network $network -Sid $sid
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

# Connects to each 'address/port', to all at once, and closes what comes about: in their order Windows' number of the
# failure, 0 for a connection, 10060 also where nothing answers in this time; how long each took, and whether the
# other side closed it while it was watched. By UDP an empty datagram is sent, and an answer or an error awaited.
function Get-WinConnects {
    param([string] $Protocol, [string[]] $Endpoints, [int] $Milliseconds, [int] $Watch)
    $runs = @(foreach ($endpoint in $Endpoints) { Start-WinConnect -Protocol $Protocol -Endpoint $endpoint -Watched ($Watch -gt 0) })
    try {
        Complete-WinConnects -Runs $runs -Milliseconds $Milliseconds
        $clock = New-WinClock
        foreach ($run in @($runs | Where-Object { ($_.Code -eq 0) -and (-not $_.Closed) -and ($Watch -gt 0) })) {
            Watch-WinConnect -Run $run -Protocol $Protocol -Clock $clock -Milliseconds $Watch
        }
    } finally {
        foreach ($run in $runs) { if ($null -ne $run.Socket) { $run.Socket.Dispose() } }
    }
    $runs
}

# Begins to connect; by UDP there is nothing to wait for, and the datagram is sent.
function Start-WinConnect {
    param([string] $Protocol, [string] $Endpoint, [bool] $Watched)
    $to = $Endpoint.Split('/')
    $target = New-Object System.Net.IPEndPoint([System.Net.IPAddress]::Parse($to[0]), [int] $to[1])
    $kind = @([System.Net.Sockets.SocketType]::Stream, [System.Net.Sockets.ProtocolType]::Tcp)
    if ($Protocol -ceq 'udp') { $kind = @([System.Net.Sockets.SocketType]::Dgram, [System.Net.Sockets.ProtocolType]::Udp) }
    $run = @{ Socket = $null; Connect = $null; Clock = New-WinClock; Code = 0; Milliseconds = 0; Closed = $false }
    try {
        # A Windows without IPv6 has no such socket.
        $run.Socket = New-Object System.Net.Sockets.Socket($target.AddressFamily, $kind[0], $kind[1])
        if ($Protocol -ceq 'udp') {
            $run.Socket.Connect($target)
            [byte[]] $nothing = @()
            [void] $run.Socket.Send($nothing)
        } else {
            # What is watched ends by a reset, by which the relay notices at once that its client is gone.
            if ($Watched) { $run.Socket.LingerState = New-Object System.Net.Sockets.LingerOption($true, 0) }
            $run.Connect = $run.Socket.BeginConnect($target, $null, $null)
        }
    } catch {
        $run.Code = Get-WinSocketError -Failure $_
        $run.Milliseconds = [int] $run.Clock.ElapsedMilliseconds
    }
    $run
}

# Waits for the connections that were begun, whichever is next, this long at most.
function Complete-WinConnects {
    param([hashtable[]] $Runs, [int] $Milliseconds)
    $clock = New-WinClock
    while ($true) {
        $open = @($Runs | Where-Object { $null -ne $_.Connect })
        if ($open.Count -eq 0) { return }
        $handles = [System.Threading.WaitHandle[]] @($open | ForEach-Object { $_.Connect.AsyncWaitHandle })
        $left = [int] [Math]::Max(1, $Milliseconds - $clock.ElapsedMilliseconds)
        $place = [System.Threading.WaitHandle]::WaitAny($handles, $left)
        if ($place -ne [System.Threading.WaitHandle]::WaitTimeout) { $open = @($open[$place]) }
        foreach ($run in $open) {
            $run.Milliseconds = [int] $run.Clock.ElapsedMilliseconds
            $run.Code = 10060
            if ($place -ne [System.Threading.WaitHandle]::WaitTimeout) { Complete-WinConnect -Run $run }
            $run.Connect = $null
        }
    }
}

# What became of a connection that is done.
function Complete-WinConnect {
    param([hashtable] $Run)
    $Run.Code = 0
    try {
        $Run.Socket.EndConnect($Run.Connect)
    } catch {
        $Run.Code = Get-WinSocketError -Failure $_
        if ($Run.Code -eq 10054) {
            # It was accepted, and closed before this process had its turn.
            $Run.Code = 0
            $Run.Closed = $true
        }
    }
}

# Reads and drops what comes until this time of the clock: whether the other side closes the connection, or what became
# of the datagram. One that never ends to send is not waited for.
function Watch-WinConnect {
    param([hashtable] $Run, [string] $Protocol, $Clock, [int] $Milliseconds)
    $buffer = New-Object byte[] 4096
    try {
        for ($reads = 0; $reads -lt 64; $reads += 1) {
            $left = [int] [Math]::Max(1, $Milliseconds - $Clock.ElapsedMilliseconds)
            if (-not $Run.Socket.Poll($left * 1000, [System.Net.Sockets.SelectMode]::SelectRead)) {
                if ($Protocol -ceq 'udp') { $Run.Code = 10060 }
                return
            }
            if ($Protocol -ceq 'udp') { $Run.Milliseconds = [int] $Run.Clock.ElapsedMilliseconds }
            $count = $Run.Socket.Receive($buffer)
            if ($Protocol -ceq 'udp') { return }
            if ($count -eq 0) {
                $Run.Closed = $true
                return
            }
        }
    } catch {
        $code = Get-WinSocketError -Failure $_
        if ($Protocol -ceq 'udp') { $Run.Code = $code } else { $Run.Closed = $true }
    }
}
