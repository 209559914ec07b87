#Requires -Version 5.1
# Keeps the TCP port proxy rules of one Windows user equal to what the agent
# inside WSL asks for. One call is one sync: a JSON request on standard input,
# one JSON answer on standard output, exit code 0 whenever an answer was printed.
#
# Windows PowerShell 5.1 runs this file. Nothing here may use the automatic
# variable for pipeline input: merely naming it makes 5.1 swallow standard input
# before the first line runs.
#
# Order of the file: decisions first (objects in, objects out), then the order of
# events, then every call that touches Windows, then the one line that starts it.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# The inherited path starts with a folder that the user's unelevated programs can
# write; an elevated run must not load a module from there.
$env:PSModulePath = $PSHOME + '\Modules'

$script:Step = 'start'
$OctetPattern = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
$AddressPattern = $OctetPattern + '(?:\.' + $OctetPattern + '){3}'
$EndpointPattern = '\A' + $AddressPattern + '/[1-9][0-9]{0,4}\z'
# netsh stores '*' when a rule was made without a listen address.
$ListenerPattern = '\A(?:\*|' + $AddressPattern + ')/[1-9][0-9]{0,4}\z'

# ---- Decisions -------------------------------------------------------------

function New-InvalidRequest {
    param([string] $Message)
    New-Object System.IO.InvalidDataException($Message)
}

function Assert-Fields {
    param($Object, [string[]] $Names, [string] $Place)
    if ($Object -isnot [System.Management.Automation.PSCustomObject]) {
        throw (New-InvalidRequest -Message ($Place + ': must be an object'))
    }
    $found = @{}
    foreach ($property in $Object.PSObject.Properties) {
        if ($Names -cnotcontains $property.Name) {
            throw (New-InvalidRequest -Message ('{0}: unknown field "{1}"' -f $Place, $property.Name))
        }
        $found[$property.Name] = $true
    }
    foreach ($name in $Names) {
        if (-not $found.ContainsKey($name)) {
            throw (New-InvalidRequest -Message ('{0}: field "{1}" is missing' -f $Place, $name))
        }
    }
}

# Returns the address as Windows writes it. TryParse alone takes '1', '0x7f.1'
# and octal parts, hence the pattern before it.
function ConvertTo-Address {
    param($Value, [string] $Place)
    $parsed = $null
    if (($Value -isnot [string]) -or ($Value -cnotmatch ('\A' + $AddressPattern + '\z')) -or
        (-not [System.Net.IPAddress]::TryParse($Value, [ref] $parsed))) {
        throw (New-InvalidRequest -Message ($Place + ': must be an IPv4 address'))
    }
    if ($parsed.GetAddressBytes()[0] -ge 224) {
        throw (New-InvalidRequest -Message ($Place + ': must not be a multicast, reserved or broadcast address'))
    }
    $parsed.ToString()
}

# A rule towards loopback would open Windows' own local services to the network.
function ConvertTo-GuestAddress {
    param($Value, [string] $Place)
    $address = ConvertTo-Address -Value $Value -Place $Place
    $first = [System.Net.IPAddress]::Parse($address).GetAddressBytes()[0]
    if (($first -eq 0) -or ($first -eq 127)) {
        throw (New-InvalidRequest -Message ($Place + ': must be the address of another machine'))
    }
    $address
}

# JSON integers arrive as int (or long, always out of range here); 22.0 as decimal.
function ConvertTo-Port {
    param($Value, [string] $Place)
    if (($Value -isnot [int]) -or ($Value -lt 1) -or ($Value -gt 65535)) {
        throw (New-InvalidRequest -Message ($Place + ': must be an integer from 1 to 65535'))
    }
    $Value
}

# Request text -> listener to target, in the order of the request. A listener and
# a target are both written 'address/port', as the registry has them.
function ConvertTo-Wanted {
    param([string] $Text)
    try {
        $request = ConvertFrom-Json -InputObject $Text
    } catch {
        throw (New-InvalidRequest -Message ('request: not JSON: ' + $_.Exception.Message))
    }
    Assert-Fields -Object $request -Place 'request' -Names @('version', 'action', 'connect-address', 'forwards')
    if (($request.'version' -isnot [int]) -or ($request.'version' -ne 1)) {
        throw (New-InvalidRequest -Message 'version: this script speaks version 1 only')
    }
    if (($request.'action' -isnot [string]) -or ($request.'action' -cne 'sync')) {
        throw (New-InvalidRequest -Message 'action: must be "sync"')
    }
    $guest = ConvertTo-GuestAddress -Value $request.'connect-address' -Place 'connect-address'
    if ($request.'forwards' -isnot [System.Collections.IList]) {
        throw (New-InvalidRequest -Message 'forwards: must be a list')
    }
    $wanted = [ordered] @{}
    $index = 0
    foreach ($forward in $request.'forwards') {
        $place = 'forwards[{0}]' -f $index
        Assert-Fields -Object $forward -Place $place -Names @('listen-address', 'listen-port', 'connect-port')
        $address = ConvertTo-Address -Value $forward.'listen-address' -Place ($place + '.listen-address')
        $port = ConvertTo-Port -Value $forward.'listen-port' -Place ($place + '.listen-port')
        $listener = '{0}/{1}' -f $address, $port
        if ($wanted.Contains($listener)) {
            throw (New-InvalidRequest -Message ('{0}: {1} is asked for twice' -f $place, $listener))
        }
        $guestPort = ConvertTo-Port -Value $forward.'connect-port' -Place ($place + '.connect-port')
        $wanted[$listener] = '{0}/{1}' -f $guest, $guestPort
        $index += 1
    }
    $wanted
}

# Registry values whose name is a listener; anything else cannot be in our way.
function Select-Listeners {
    param([hashtable] $Values)
    $rules = @{}
    foreach ($name in $Values.Keys) {
        if ($name -cmatch $ListenerPattern) {
            $rules[$name] = $Values[$name]
        }
    }
    $rules
}

# The ledger's own values. 'tcp/<listener>' names the target that a rule has;
# 'pending/tcp/<listener>' the one it is about to get. With both on record a run
# that is killed while it re-points a rule still knows the rule as its own.
# Other names belong to other versions and stay.
function Select-Ledger {
    param([hashtable] $Values)
    $ledger = @{}
    foreach ($name in $Values.Keys) {
        if ($name -cmatch '\A(?:pending/)?tcp/') {
            $ledger[$name] = $Values[$name]
        }
    }
    $ledger
}

# Rules that stand and that the ledger claims with exactly this target. All others
# are foreign: never overwritten, never deleted.
function Select-Owned {
    param([hashtable] $Rules, [hashtable] $Ledger)
    $owned = @{}
    foreach ($listener in $Rules.Keys) {
        $target = $Rules[$listener]
        if (($target -cmatch $EndpointPattern) -and
            (($Ledger['tcp/' + $listener] -ceq $target) -or ($Ledger['pending/tcp/' + $listener] -ceq $target))) {
            $owned[$listener] = $target
        }
    }
    $owned
}

# Foreign listeners by their port.
function Group-ByPort {
    param([hashtable] $Rules, [hashtable] $Owned)
    $ports = @{}
    foreach ($name in $Rules.Keys) {
        if ($Owned.ContainsKey($name)) {
            continue
        }
        $port = $name.Split('/')[1]
        if (-not $ports.ContainsKey($port)) {
            $ports[$port] = New-Object System.Collections.ArrayList
        }
        [void] $ports[$port].Add($name)
    }
    $ports
}

# Names of the foreign rules that take a part of where we want to listen, or all of
# it: which of two listeners that overlap gets a connection is nothing to build on.
function Find-Obstacles {
    param([hashtable] $Foreign, [string] $Listener)
    $listen = $Listener.Split('/')
    if (-not $Foreign.ContainsKey($listen[1])) {
        return
    }
    foreach ($name in $Foreign[$listen[1]]) {
        $address = $name.Split('/')[0]
        if (($address -ceq $listen[0]) -or ($listen[0] -ceq '0.0.0.0') -or (@('0.0.0.0', '*') -ccontains $address)) {
            $name
        }
    }
}

# What to do, for a table of rules and a ledger as they stand. Before: the ledger
# as it must be on record before the first rule changes. A rule of ours that stands
# stays where a foreign one overlaps it (somebody may be connected through it), and
# the foreign one is reported all the same.
function New-Plan {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Rules, [hashtable] $Ledger)
    $owned = Select-Owned -Rules $Rules -Ledger $Ledger
    $foreign = Group-ByPort -Rules $Rules -Owned $owned
    $before = @{}
    $add = New-Object System.Collections.ArrayList
    $set = New-Object System.Collections.ArrayList
    $remove = New-Object System.Collections.ArrayList
    $keep = New-Object System.Collections.ArrayList
    $obstacles = New-Object System.Collections.ArrayList
    foreach ($listener in $owned.Keys) {
        $before['tcp/' + $listener] = $owned[$listener]
        if (-not $Wanted.Contains($listener)) {
            [void] $remove.Add($listener)
        }
    }
    foreach ($listener in $Wanted.Keys) {
        $target = $Wanted[$listener]
        $found = @(Find-Obstacles -Foreign $foreign -Listener $listener)
        foreach ($obstacle in $found) {
            if (-not $obstacles.Contains($obstacle)) {
                [void] $obstacles.Add($obstacle)
            }
        }
        if ($owned.ContainsKey($listener)) {
            if ($owned[$listener] -ceq $target) {
                [void] $keep.Add($listener)
            } else {
                [void] $set.Add($listener)
                $before['pending/tcp/' + $listener] = $target
            }
            continue
        }
        if ($found.Count -eq 0) {
            [void] $add.Add($listener)
            $before['tcp/' + $listener] = $target
        }
    }
    @{
        Owned = $owned
        Before = $before
        Added = $add
        Changed = $set
        Removed = $remove
        Kept = $keep
        Obstacles = $obstacles
        Changes = $add.Count + $set.Count + $remove.Count
    }
}

# One line of a netsh script. Listener and target passed the patterns above, so
# digits, dots and one slash are all they can hold.
function ConvertTo-NetshLine {
    param([string] $Verb, [string] $Listener, [string] $Target)
    $listen = $Listener.Split('/')
    $line = 'interface portproxy {0} v4tov4 listenaddress={1} listenport={2}' -f $Verb, $listen[0], $listen[1]
    if ($Verb -cne 'delete') {
        $connect = $Target.Split('/')
        $line += ' connectaddress={0} connectport={1}' -f $connect[0], $connect[1]
    }
    $line + ' protocol=tcp'
}

function Get-NetshLines {
    param([hashtable] $Plan, [System.Collections.IDictionary] $Wanted)
    foreach ($listener in $Plan.Removed) {
        ConvertTo-NetshLine -Verb 'delete' -Listener $listener -Target ''
    }
    foreach ($listener in $Plan.Changed) {
        ConvertTo-NetshLine -Verb 'set' -Listener $listener -Target $Wanted[$listener]
    }
    foreach ($listener in $Plan.Added) {
        ConvertTo-NetshLine -Verb 'add' -Listener $listener -Target $Wanted[$listener]
    }
}

# The ledger once the work is done: what is ours and stands.
function Get-LedgerAfter {
    param([hashtable] $Owned)
    $ledger = @{}
    foreach ($listener in $Owned.Keys) {
        $ledger['tcp/' + $listener] = $Owned[$listener]
    }
    $ledger
}

# A rule as the answer has it. Another tool's target may be a host name, or no
# target at all: then address and port are null.
function ConvertTo-Rule {
    param([string] $Listener, [string] $Target)
    $listen = $Listener.Split('/')
    $connectAddress = $null
    $connectPort = $null
    if ($Target -cmatch '\A(?<host>[^/]+)/(?<port>[1-9][0-9]{0,4})\z') {
        $connectAddress = $Matches['host']
        if ([int] $Matches['port'] -le 65535) {
            $connectPort = [int] $Matches['port']
        }
    }
    [ordered] @{
        'listen-address' = $listen[0].Replace('*', '0.0.0.0')
        'listen-port' = [int] $listen[1]
        'connect-address' = $connectAddress
        'connect-port' = $connectPort
    }
}

function ConvertTo-Rules {
    param([System.Collections.IEnumerable] $Listeners, [hashtable] $Rules)
    $list = @(foreach ($listener in $Listeners) {
        ConvertTo-Rule -Listener $listener -Target $Rules[$listener]
    })
    $list | Sort-Object -Property { $_['listen-port'] }, { $_['listen-address'] }
}

# An answer without the facts about Windows' network, which Get-AnswerText fills in.
function New-Answer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1
        'state' = $State
        'detail' = $Detail
        'rules' = @()
        'added' = 0
        'removed' = 0
        'kept' = 0
        'conflicts' = @()
        'windows-address' = $null
        'lowest-mtu' = $null
    }
}

# An answer of a run that changed nothing: kept are all rules of ours that stand.
function New-StandingAnswer {
    param([string] $State, $Detail, [hashtable] $Plan, [hashtable] $Rules)
    $answer = New-Answer -State $State -Detail $Detail
    $answer['rules'] = @(ConvertTo-Rules -Listeners $Plan.Owned.Keys -Rules $Rules)
    $answer['kept'] = $Plan.Owned.Count
    $answer['conflicts'] = @(ConvertTo-Rules -Listeners $Plan.Obstacles -Rules $Rules)
    $answer
}

# An answer of a run that wrote rules, judged by the table as read back.
function New-WrittenAnswer {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Rules, [hashtable] $Owned)
    $answer = New-Answer -State 'synced' -Detail $null
    $differences = New-Object System.Collections.ArrayList
    foreach ($listener in @($Plan.Kept) + @($Plan.Changed) + @($Plan.Added)) {
        if ($Rules[$listener] -cne $Wanted[$listener]) {
            [void] $differences.Add(('{0} leads to "{1}" instead of "{2}"' -f $listener, $Rules[$listener], $Wanted[$listener]))
        }
    }
    foreach ($listener in @($Plan.Changed) + @($Plan.Added)) {
        if ($Rules[$listener] -ceq $Wanted[$listener]) {
            $answer['added'] += 1
        }
    }
    foreach ($listener in $Plan.Kept) {
        if ($Rules[$listener] -ceq $Wanted[$listener]) {
            $answer['kept'] += 1
        }
    }
    foreach ($listener in $Plan.Removed) {
        if ($Owned.ContainsKey($listener)) {
            [void] $differences.Add(($listener + ' still stands'))
        } else {
            $answer['removed'] += 1
        }
    }
    if ($differences.Count -gt 0) {
        $answer['state'] = 'partial'
        $answer['detail'] = 'not as asked for: {0}; the first: {1}' -f $differences.Count, $differences[0]
    }
    $answer['rules'] = @(ConvertTo-Rules -Listeners $Owned.Keys -Rules $Rules)
    $answer['conflicts'] = @(ConvertTo-Rules -Listeners $Plan.Obstacles -Rules $Rules)
    $answer
}

# Interfaces that the facts may be about. The MTU of WSL's own switch is the result
# of the others' and not its cause, and its address leads to WSL alone.
function Select-Connected {
    param([object[]] $Interfaces)
    foreach ($interface in $Interfaces) {
        if ($interface.Up -and (-not $interface.Loopback) -and
            (-not $interface.Name.StartsWith('vEthernet (WSL', [System.StringComparison]::OrdinalIgnoreCase))) {
            $interface
        }
    }
}

# The address on Windows' default route, or $null. Approximate where several
# interfaces have a gateway: Windows prefers the lowest metric, which .NET does not
# tell, so the lowest IPv4 interface index is taken.
function Select-DefaultAddress {
    param([object[]] $Interfaces)
    $best = $null
    foreach ($interface in $Interfaces) {
        if ($interface.Gateway -and ($interface.Addresses.Count -gt 0) -and
            (($null -eq $best) -or ($interface.Index -lt $best.Index))) {
            $best = $interface
        }
    }
    if ($null -eq $best) {
        return $null
    }
    $best.Addresses[0]
}

# WSL copies the lowest MTU of the connected interfaces to the guest's eth0. An MTU
# that is not positive is none: .NET makes -1 of "no limit".
function Select-LowestMtu {
    param([object[]] $Interfaces)
    $lowest = $null
    foreach ($interface in $Interfaces) {
        if (($interface.Mtu -gt 0) -and (($null -eq $lowest) -or ($interface.Mtu -lt $lowest['mtu']))) {
            $lowest = [ordered] @{ 'name' = $interface.Name; 'mtu' = $interface.Mtu }
        }
    }
    $lowest
}

# ASCII alone survives every console code page: the rest becomes \uXXXX.
function ConvertTo-AsciiJson {
    param([System.Collections.IDictionary] $Answer)
    $json = ConvertTo-Json -InputObject $Answer -Depth 6 -Compress
    [regex]::Replace($json, '[^\x20-\x7E]', { param($match) '\u{0:x4}' -f [int] [char] $match.Value })
}

# ---- Order of events -------------------------------------------------------

# Chooses what to do without administrator rights. Rules can be read and not
# written, so the answer says whether what stands is what is wanted.
function Get-UnelevatedAnswer {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Rules)
    if ($Plan.Changes -gt 0) {
        $detail = 'rules that would have to change: {0}' -f $Plan.Changes
        return New-StandingAnswer -State 'not-elevated' -Detail $detail -Plan $Plan -Rules $Rules
    }
    $script:Step = 'ask for the service iphlpsvc'
    if (($Wanted.Count -gt 0) -and (-not (Test-ProxyService))) {
        return New-StandingAnswer -State 'service-stopped' -Detail $null -Plan $Plan -Rules $Rules
    }
    New-StandingAnswer -State 'synced' -Detail $null -Plan $Plan -Rules $Rules
}

# Ledger, rules, ledger: in this order a run that is killed leaves no rule that
# its owner no longer knows.
function Get-ElevatedAnswer {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Rules, [hashtable] $Ledger, [string] $Sid)
    $script:Step = 'ask for the service iphlpsvc'
    if ((($Wanted.Count -gt 0) -or ($Plan.Changes -gt 0)) -and (-not (Test-ProxyService))) {
        return New-StandingAnswer -State 'service-stopped' -Detail $null -Plan $Plan -Rules $Rules
    }
    $script:Step = 'write the ledger before the rules'
    Set-LedgerValues -Sid $Sid -Old $Ledger -New $Plan.Before
    $read = $Rules
    if ($Plan.Changes -gt 0) {
        $script:Step = 'run netsh'
        Invoke-NetshScript -Lines @(Get-NetshLines -Plan $Plan -Wanted $Wanted)
        $script:Step = 'read the rules back'
        $read = Select-Listeners -Values (Get-PortProxyValues)
    }
    $owned = Select-Owned -Rules $read -Ledger $Plan.Before
    $script:Step = 'write the ledger after the rules'
    Set-LedgerValues -Sid $Sid -Old $Plan.Before -New (Get-LedgerAfter -Owned $owned)
    New-WrittenAnswer -Wanted $Wanted -Plan $Plan -Rules $read -Owned $owned
}

function Sync-Rules {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Caller)
    $script:Step = 'read the rules'
    $rules = Select-Listeners -Values (Get-PortProxyValues)
    $script:Step = 'read the ledger'
    $ledger = Select-Ledger -Values (Get-LedgerValues -Sid $Caller.Sid)
    $plan = New-Plan -Wanted $Wanted -Rules $rules -Ledger $ledger
    if (-not $Caller.Elevated) {
        return Get-UnelevatedAnswer -Wanted $Wanted -Plan $plan -Rules $rules
    }
    Get-ElevatedAnswer -Wanted $Wanted -Plan $plan -Rules $rules -Ledger $ledger -Sid $Caller.Sid
}

# An earlier call may still be at work after its agent gave up on it; the later
# request must be the one that stands at the end.
function Invoke-Sync {
    param([System.Collections.IDictionary] $Wanted)
    $script:Step = 'find out who runs this'
    $caller = Get-Caller
    if (-not $caller.Elevated) {
        return Sync-Rules -Wanted $Wanted -Caller $caller
    }
    $script:Step = 'wait for an earlier sync to end'
    $lock = Enter-SyncLock
    try {
        Sync-Rules -Wanted $Wanted -Caller $caller
    } finally {
        Exit-SyncLock -Lock $lock
    }
}

# The facts are extras: one that cannot be told is $null.
function Get-NetworkFacts {
    $facts = @{ Address = $null; Mtu = $null }
    try {
        $interfaces = @(Select-Connected -Interfaces @(Get-IPv4Interfaces))
        $facts.Mtu = Select-LowestMtu -Interfaces $interfaces
        $facts.Address = Select-DefaultAddress -Interfaces $interfaces
    } catch {
        # What has been found out until here stays.
        $null = $_
    }
    $facts
}

# The facts come before the rules: once rules are written, nothing but the answer
# may stand between the agent and knowing about them.
function Get-AnswerText {
    $facts = @{ Address = $null; Mtu = $null }
    try {
        $script:Step = 'read standard input'
        $text = Read-StandardInput
        $script:Step = 'check the request'
        $wanted = ConvertTo-Wanted -Text $text
        $script:Step = 'look at the network interfaces'
        $facts = Get-NetworkFacts
        $answer = Invoke-Sync -Wanted $wanted
    } catch [System.IO.InvalidDataException] {
        $answer = New-Answer -State 'invalid-request' -Detail $_.Exception.Message
    } catch {
        $answer = New-Answer -State 'failed' -Detail ('{0}: {1}' -f $script:Step, $_.Exception.Message)
    }
    $answer['windows-address'] = $facts.Address
    $answer['lowest-mtu'] = $facts.Mtu
    ConvertTo-AsciiJson -Answer $answer
}

# ---- Windows ---------------------------------------------------------------

function Read-StandardInput {
    $encoding = New-Object System.Text.UTF8Encoding($false)
    $reader = New-Object System.IO.StreamReader([Console]::OpenStandardInput(), $encoding)
    $reader.ReadToEnd()
}

function Write-Answer {
    param([string] $Text)
    try {
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    } catch {
        # Refused where no console is attached; the text is ASCII in any case.
        $null = $_
    }
    [Console]::Out.Write($Text + "`n")
    [Console]::Out.Flush()
}

# The group is asked for by its well-known number, so its localised name is no matter.
function Get-Caller {
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object System.Security.Principal.WindowsPrincipal($identity)
    @{
        Sid = [string] $identity.User.Value
        Elevated = [bool] $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)
    }
}

# Waits 5 s of the 15 s that the agent waits for the whole call: starting PowerShell
# and writing the rules need the rest. Any program may make something of this name,
# without rights and of another kind or with an access list that keeps us out.
function Enter-SyncLock {
    $name = 'Global\wslmesh-portproxy'
    $causes = 'another sync still runs, or another program holds the name ' + $name
    try {
        $mutex = New-Object System.Threading.Mutex($false, $name)
    } catch {
        throw ('{0} ({1})' -f $causes, $_.Exception.Message)
    }
    try {
        $taken = $mutex.WaitOne(5000)
    } catch [System.Threading.AbandonedMutexException] {
        # The holder was killed. The lock is ours, and the ledger knows what it had done.
        $taken = $true
    }
    if (-not $taken) {
        $mutex.Dispose()
        throw ($causes + ' (waited 5 s)')
    }
    $mutex
}

function Exit-SyncLock {
    param([System.Threading.Mutex] $Lock)
    $Lock.ReleaseMutex()
    $Lock.Dispose()
}

function Test-ProxyService {
    # The name of the enumeration's member is never localised.
    $service = Get-Service -Name 'iphlpsvc'
    ([string] $service.Status) -ceq 'Running'
}

# The 64-bit view is the only one that the service and netsh use.
function Open-LocalMachine {
    [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
}

# All values of a key as text; a key that does not exist has none. The cmdlets for
# the registry would take '*' in a name for a wildcard.
function Get-RegistryValues {
    param([string] $Path)
    $values = @{}
    $machine = Open-LocalMachine
    try {
        $key = $machine.OpenSubKey($Path)
        if ($null -ne $key) {
            try {
                foreach ($name in $key.GetValueNames()) {
                    $values[$name] = [string] $key.GetValue($name, '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
                }
            } finally {
                $key.Dispose()
            }
        }
    } finally {
        $machine.Dispose()
    }
    $values
}

function Get-PortProxyValues {
    Get-RegistryValues -Path 'SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp'
}

function Get-LedgerValues {
    param([string] $Sid)
    Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid + '\ledger')
}

# Makes the ledger New where it was Old. 'tcp/' is written before 'pending/': a
# pending target that has become true must be on record before the next replaces it.
function Set-LedgerValues {
    param([string] $Sid, [hashtable] $Old, [hashtable] $New)
    $write = @($New.Keys | Where-Object { $Old[$_] -cne $New[$_] } | Sort-Object -Descending)
    $delete = @($Old.Keys | Where-Object { -not $New.ContainsKey($_) })
    if ($write.Count + $delete.Count -eq 0) {
        return
    }
    $machine = Open-LocalMachine
    try {
        $key = $machine.CreateSubKey('SOFTWARE\wslmesh\' + $Sid + '\ledger')
        try {
            foreach ($name in $write) {
                $key.SetValue($name, [string] $New[$name], [Microsoft.Win32.RegistryValueKind]::String)
            }
            foreach ($name in $delete) {
                $key.DeleteValue($name, $false)
            }
            # Ledger and rules lie in different hives: without this a power cut
            # could keep the rule and lose the line that says whose it is.
            $key.Flush()
        } finally {
            $key.Dispose()
        }
    } finally {
        $machine.Dispose()
    }
}

# netsh takes its orders from a file, whatever their number. This process is
# elevated and its %TEMP% belongs to the user: a program of the user without
# elevation could rewrite a file there before netsh, elevated, reads it. So the
# file lies in Windows' own Temp, must not exist before, and is born with an access
# list (and an owner) that leaves out everyone but administrators and the system.
function Invoke-NetshScript {
    param([string[]] $Lines)
    $bytes = [System.Text.Encoding]::ASCII.GetBytes(($Lines -join "`r`n") + "`r`n")
    $folder = [System.IO.Path]::Combine([Environment]::GetFolderPath('Windows'), 'Temp')
    $path = [System.IO.Path]::Combine($folder, 'wslmesh-' + [System.IO.Path]::GetRandomFileName())
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $security = New-Object System.Security.AccessControl.FileSecurity
    $security.SetSecurityDescriptorSddlForm('O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)', $sections)
    $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::CreateNew,
        [System.Security.AccessControl.FileSystemRights]::Write, [System.IO.FileShare]::None,
        4096, [System.IO.FileOptions]::None, $security)
    try {
        try {
            $stream.Write($bytes, 0, $bytes.Length)
        } finally {
            $stream.Dispose()
        }
        $netsh = [System.IO.Path]::Combine([Environment]::SystemDirectory, 'netsh.exe')
        # Its text is localised and its exit code says little; the registry is read back.
        & $netsh '-f' $path | Out-Null
    } finally {
        [System.IO.File]::Delete($path)
    }
}

# .NET and not the cmdlets of the Net family: those ask WMI, which is slow to load
# and hangs where it is broken. Approximate: .NET has one MTU for an adapter, which
# need not be IPv4's where the two families differ.
function Get-IPv4Interfaces {
    foreach ($interface in [System.Net.NetworkInformation.NetworkInterface]::GetAllNetworkInterfaces()) {
        try {
            Read-Interface -Interface $interface
        } catch {
            # It has no IPv4 (a NetworkInformationException says so), or is gone by now.
            continue
        }
    }
}

# Written as one table at the end, so an interface that fails half-way leaves nothing.
function Read-Interface {
    param($Interface)
    $ip = $Interface.GetIPProperties()
    $ipv4 = $ip.GetIPv4Properties()
    $gateways = @(foreach ($gateway in $ip.GatewayAddresses) {
        if (([string] $gateway.Address.AddressFamily) -ceq 'InterNetwork') {
            [string] $gateway.Address
        }
    })
    # An address that is not yet (or no longer) to be used would mislead.
    $addresses = @(foreach ($unicast in $ip.UnicastAddresses) {
        if ((([string] $unicast.Address.AddressFamily) -ceq 'InterNetwork') -and
            (([string] $unicast.DuplicateAddressDetectionState) -ceq 'Preferred')) {
            [string] $unicast.Address
        }
    })
    @{
        Index = [long] $ipv4.Index
        Name = [string] $Interface.Name
        Up = ([string] $Interface.OperationalStatus) -ceq 'Up'
        Loopback = ([string] $Interface.NetworkInterfaceType) -ceq 'Loopback'
        Mtu = [long] $ipv4.Mtu
        Gateway = $gateways.Count -gt 0
        Addresses = $addresses
    }
}

# ---- Start -----------------------------------------------------------------

# A test reads this file with the dot operator and puts its own functions in the
# place of those under "Windows".
if ($MyInvocation.InvocationName -cne '.') {
    if ([string] $ExecutionContext.SessionState.LanguageMode -cne 'FullLanguage') {
        # Constrained by policy: no .NET call is allowed, so the answer is fixed text.
        # Write-Host, because what goes through the formatter may be wrapped.
        Write-Host '{"version":1,"state":"failed","detail":"a policy of this machine keeps PowerShell in constrained language mode","rules":[],"added":0,"removed":0,"kept":0,"conflicts":[],"windows-address":null,"lowest-mtu":null}'
    } else {
        Write-Answer -Text (Get-AnswerText)
    }
    exit 0
}
