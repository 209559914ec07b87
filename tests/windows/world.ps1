# A Windows of tables. The functions here take the place of those of the same names
# that touch Windows; a test of the project holds their parameters against each other.

$script:World = @{}

function Reset-World {
    $script:World = @{
        Table = @{}
        TableV6 = @{}
        Ledger = @{}
        Service = $true
        # How many lines of a netsh script are carried out before the process dies.
        LinesLeft = 1000000
        BindErrors = @{}
        Listening = @{}
        ListeningUdp = @{}
        # The service does not listen on what the table says.
        Deaf = $false
        Owners = @()
        OwnersUdp = @()
        Paths = @{}
        # Windows' number of what comes of a connection, by 'address/port'; 0 where there is none.
        Connects = @{}
        Closes = @()
        # What netsh was asked to show, and what it shows.
        Asked = ''
        PortText = @{
            'dynamicport' = "`r`nProtokoll tcp Dynamischer Portbereich`r`n---------------------------------`r`nStartport               : 1024`r`nAnzahl von Ports        : 64511`r`n"
            'excludedportrange' = "`r`nPortausschlussbereiche f\u00fcr das Protokoll tcp`r`n`r`nStartport    Endport`r`n----------    --------`r`n      5357        5357`r`n     50000       50059     *`r`n     50100       50159`r`n`r`n* - Verwaltete Portausschl\u00fcsse.`r`n"
        }
        Lock = $true
        # The ticket of the latest request of an elevated caller.
        Latest = ''
        Turns = 0
        # What happens while the lock is waited for.
        Waited = { }
        # Policies of other users, by SID.
        Others = @{}
        # What the value "relay" of this user says.
        RelayValue = ''
        # Keys that were to go if nothing was in them.
        EmptyKeys = New-Object System.Collections.ArrayList
    }
    Reset-TaskWorld
    Reset-FirewallWorld
}

# Everything that is not ours must be as before: a text of all of it.
function Get-WorldText {
    '{0} | {1} | {2}' -f (Get-TableText -Table $script:World.Table), (Get-TableText -Table $script:World.Ledger), (Get-FirewallText)
}

function Get-WinRegistryValues {
    param([string] $Path)
    $own = 'SOFTWARE\wslmesh\' + $script:World.Sid
    switch ($Path) {
        $ProxyPath { return $script:World.Table.Clone() }
        ($own + '\ledger') { return $script:World.Ledger.Clone() }
        $own { return @{ 'policy' = $script:World.Policy; 'latest' = $script:World.Latest; 'relay' = $script:World.RelayValue } }
        'SOFTWARE\wslmesh' { return @{ 'installed' = $script:World.Installed } }
        'SYSTEM\CurrentControlSet\Services\PortProxy\v6tov4\tcp' { return $script:World.TableV6.Clone() }
        { $_ -clike 'SYSTEM\CurrentControlSet\Services\PortProxy\v?tov6\tcp' } { return @{} }
        'SOFTWARE\Microsoft\Windows\CurrentVersion\Lxss' {
            return @{ 'NatNetwork' = $script:World.Network; 'NatGatewayIpAddress' = $script:World.Gateway }
        }
    }
    $other = $Path.Substring('SOFTWARE\wslmesh\'.Length)
    if ($script:World.Others.ContainsKey($other)) { return @{ 'policy' = $script:World.Others[$other] } }
    throw ('no key ' + $Path)
}

function Get-WinRegistryKeys {
    param([string] $Path)
    Assert-Equal -Expected 'SOFTWARE\wslmesh' -Found $Path
    @($script:World.Sid) + @($script:World.Others.Keys)
}

function Set-WinRegistryValues {
    param([string] $Path, [System.Collections.IDictionary] $Values, [string[]] $Removed)
    $own = 'SOFTWARE\wslmesh\' + $script:World.Sid
    if ($Path -ceq $own) {
        $script:World.Latest = [string] $Values['latest']
        return
    }
    Assert-Equal -Expected ($own + '\ledger') -Found $Path
    foreach ($name in @($Values.Keys)) { $script:World.Ledger[$name] = $Values[$name] }
    foreach ($name in $Removed) { $script:World.Ledger.Remove($name) }
}

function Remove-WinRegistryKey {
    param([string] $Path, [bool] $Whole)
    Assert-True -Found (-not $Whole) -What 'only what is empty goes'
    [void] $script:World.EmptyKeys.Add($Path)
}

function Test-WinService {
    param([string] $Name)
    Assert-Equal -Expected 'iphlpsvc' -Found $Name
    $script:World.Service
}

function Invoke-NetshScript {
    param([string[]] $Lines)
    foreach ($line in $Lines) {
        if ($script:World.LinesLeft -le 0) {
            throw 'killed'
        }
        $script:World.LinesLeft -= 1
        $words = $line.Split(' ')
        Assert-Equal -Expected 'interface portproxy v4tov4' -Found ('{0} {1} {2}' -f $words[0], $words[1], $words[3])
        $values = @{}
        foreach ($word in $words) {
            $pair = $word.Split('=')
            if ($pair.Count -eq 2) {
                $values[$pair[0]] = $pair[1]
            }
        }
        Assert-Equal -Expected 'tcp' -Found $values['protocol']
        $listener = '{0}/{1}' -f $values['listenaddress'], $values['listenport']
        if ($words[2] -ceq 'delete') {
            $script:World.Table.Remove($listener)
        } else {
            $script:World.Table[$listener] = '{0}/{1}' -f $values['connectaddress'], $values['connectport']
        }
    }
}

function Get-WinBindError {
    param([string] $Address, [int] $Port)
    $listener = '{0}/{1}' -f $Address, $Port
    if ($script:World.BindErrors.ContainsKey($listener)) {
        return $script:World.BindErrors[$listener]
    }
    0
}

# Other programs', and those of the service where it hears of a rule.
function Get-WinListeners {
    param([string] $Protocol)
    if ($Protocol -ceq 'udp') { return $script:World.ListeningUdp.Clone() }
    $found = $script:World.Listening.Clone()
    if ($script:World.Deaf) { return $found }
    foreach ($listener in $script:World.Table.Keys) {
        $listen = $listener.Split('/')
        $found[$listen[1]] = @($found[$listen[1]] | Where-Object { $null -ne $_ }) + $listen[0]
    }
    $found
}

function Get-WinPortOwners {
    param([string] $Protocol)
    if ($Protocol -ceq 'udp') { return $script:World.OwnersUdp }
    $script:World.Owners
}

function Get-WinProcessPath {
    param([int] $Id)
    [string] $script:World.Paths[$Id]
}

# netsh in German; the first of the excluded ranges is an administrator's.
function Get-WinPortText {
    param([string] $What, [string] $Protocol, [int] $Seconds)
    $script:World.Asked += '{0} {1} {2};' -f $What, $Protocol, $Seconds
    if ($script:World.PortText.ContainsKey($What)) { return $script:World.PortText[$What] }
    throw ('netsh did not show its ports (still running after {1} s); try again ({0})' -f $Protocol, $Seconds)
}

function Get-WinConnects {
    param([string] $Protocol, [string[]] $Endpoints, [int] $Milliseconds, [int] $Watch)
    Assert-Equal -Expected 4000 -Found $Milliseconds
    foreach ($endpoint in $Endpoints) {
        @{ Code = [int] $script:World.Connects["$Protocol/$endpoint"]; Milliseconds = 3; Closed = ($Watch -eq 3000) -and ($script:World.Closes -contains $endpoint) }
    }
}

function Enter-SyncLock {
    if (-not $script:World.Lock) {
        throw 'another sync runs'
    }
    $script:World.Lock = $false
    $body = $script:World.Waited
    & $body
    'the lock'
}

function Exit-SyncLock {
    param($Lock)
    Assert-Equal -Expected 'the lock' -Found $Lock
    $script:World.Lock = $true
}
