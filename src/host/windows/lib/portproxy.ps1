# Forwards, which rules of Windows' port proxy are ours, what has to change, and the sync that changes it.

# Who serves a forward depends on the mode: the port proxy and the relay lead to a guest behind NAT, and would
# take the port from a guest that shares it with Windows. The port proxy knows TCP alone.
function Test-ServedBy {
    param([string] $Mode, [string] $Protocol, [string] $ServedBy)
    if ($Mode -ceq 'mirrored') { return $ServedBy -ceq 'guest' }
    ($ServedBy -ceq 'relay') -or (($ServedBy -ceq 'portproxy') -and ($Protocol -ceq 'tcp'))
}

# What the port proxy must hold for these forwards: listener to target, in their
# order. A listener and a target are both written 'address/port', as the registry
# has them. Forwards with another backend need nothing there. Where the guest's address
# is not known, a rule of ours that exists stays as it is, and no other is made.
function Get-WantedRules {
    param([object[]] $Forwards, $Guest, [hashtable] $Owned)
    $wanted = [ordered] @{}
    foreach ($forward in $Forwards) {
        if ($forward.ServedBy -cne 'portproxy') { continue }
        if ($null -ne $Guest) {
            $wanted[$forward.Listener] = '{0}/{1}' -f $Guest, $forward.ConnectPort
        } elseif ($Owned.ContainsKey($forward.Listener)) {
            $wanted[$forward.Listener] = $Owned[$forward.Listener]
        }
    }
    $wanted
}

# The entries of a table whose names have this form.
function Select-Named {
    param([hashtable] $Values, [string] $Pattern)
    $selected = @{}
    foreach ($name in $Values.Keys) {
        if ($name -cmatch $Pattern) { $selected[$name] = $Values[$name] }
    }
    $selected
}

function Add-Prefix {
    param([hashtable] $Values, [string] $Prefix)
    $longer = @{}
    foreach ($name in $Values.Keys) { $longer[$Prefix + $name] = $Values[$name] }
    $longer
}

# Registry values whose name is a listener; anything else cannot be in our way.
function Read-ProxyRules {
    Select-Named -Values (Get-WinRegistryValues -Path $ProxyPath) -Pattern $ListenerPattern
}

# Existing rules that the ledger claims with exactly this target. All others are
# foreign: never overwritten, never deleted.
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

function Group-ByPort {
    param([hashtable] $Rules, [hashtable] $Owned)
    $ports = @{}
    foreach ($name in $Rules.Keys) {
        if (-not $Owned.ContainsKey($name)) { $ports[$name.Split('/')[1]] += @($name) }
    }
    $ports
}

# Names of the foreign rules that take a part of where we want to listen, or all of
# it: which of two listeners that overlap gets a connection is nothing to build on.
function Find-Conflicts {
    param([hashtable] $Foreign, [string] $Listener)
    $listen = $Listener.Split('/')
    if (-not $Foreign.ContainsKey($listen[1])) { return }
    foreach ($name in $Foreign[$listen[1]]) {
        $address = $name.Split('/')[0]
        if (($address -ceq $listen[0]) -or ($listen[0] -ceq '0.0.0.0') -or (@('0.0.0.0', '*') -ccontains $address)) {
            $name
        }
    }
}

# What to do, for rules and a ledger as they are. Before: the ledger as it must be on record before the first
# rule changes. A rule of ours that exists stays where a foreign one overlaps it (a client may be connected
# through it), and the foreign one is reported all the same.
function New-Plan {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Read)
    $owned = $Read.Owned
    $foreign = Group-ByPort -Rules $Read.Rules -Owned $owned
    $plan = @{ Added = @(); Changed = @(); Removed = @(); Kept = @(); Lost = @(); Conflicts = @(); Changes = 0 }
    $plan.Before = Add-Prefix -Values $owned -Prefix 'tcp/'
    # Without a rule, which a person removed: known as ours until nothing listens there.
    foreach ($name in $Read.Ledger.Keys) {
        $listener = $name -creplace '\A(?:pending/)?tcp/', ''
        if (-not ($Read.Rules.ContainsKey($listener) -or $Wanted.Contains($listener))) { $plan.Before[$name] = $Read.Ledger[$name] }
    }
    foreach ($listener in $owned.Keys) {
        if (-not $Wanted.Contains($listener)) { $plan.Removed += $listener }
    }
    foreach ($listener in $Wanted.Keys) {
        $target = $Wanted[$listener]
        $found = @(Find-Conflicts -Foreign $foreign -Listener $listener)
        foreach ($conflict in $found) {
            if ($plan.Conflicts -cnotcontains $conflict) { $plan.Conflicts += $conflict }
        }
        if ($owned[$listener] -ceq $target) {
            $plan.Kept += $listener
        } elseif ($owned.ContainsKey($listener)) {
            $plan.Changed += $listener
            $plan.Before['pending/tcp/' + $listener] = $target
        } elseif ($found.Count -eq 0) {
            $plan.Added += $listener
            $plan.Before['tcp/' + $listener] = $target
            # On record as made, and not there: another program took it away.
            if ($Read.Ledger.ContainsKey('tcp/' + $listener)) { $plan.Lost += $listener }
        }
    }
    $plan.Changes = $plan.Added.Count + $plan.Changed.Count + $plan.Removed.Count
    $plan
}

# Lines of a netsh script. Listeners and targets passed the patterns above, so digits,
# dots and one slash are all they can hold.
function Get-NetshLines {
    param([string] $Verb, [object[]] $Listeners, [System.Collections.IDictionary] $Targets)
    foreach ($listener in $Listeners) {
        $listen = $listener.Split('/')
        $line = 'interface portproxy {0} v4tov4 listenaddress={1} listenport={2}' -f $Verb, $listen[0], $listen[1]
        if ($Verb -cne 'delete') { $line += ' connectaddress={0} connectport={1}' -f $Targets[$listener].Split('/') }
        $line + ' protocol=tcp'
    }
}

# What a bind and the listeners that there are say: '' for free. WSL's own relay, like
# others, holds single ports of loopback, which does not prevent listening on all
# addresses. An address that Windows does not have (yet) is no taken port either.
#
# A bind that succeeds is no proof: Windows lets one socket have all addresses and
# another a single one, and connections to that one then go by. Listeners by IPv6 do not
# count there: one that took IPv4 too would have made the bind fail.
function Get-TakenKind {
    param([int] $ErrorCode, [string] $Address, [object[]] $Holders)
    $overlaps = @($Holders | Where-Object { Test-Overlap -Address $Address -Holder $_ })
    if ($ErrorCode -eq 0) {
        if (@($overlaps | Where-Object { $_ -cnotlike '*:*' }).Count -gt 0) { return 'in-use' }
        return ''
    }
    if (($ErrorCode -ne 10013) -and ($ErrorCode -ne 10048)) { return '' }
    if ($overlaps.Count -gt 0) { return 'in-use' }
    if ($ErrorCode -eq 10013) { return 'forbidden' }
    if (($Address -ceq '0.0.0.0') -and (@($Holders).Count -gt 0)) { return '' }
    'in-use'
}

function Test-Overlap {
    param([string] $Address, [string] $Holder)
    (@('::', $Address) -ccontains $Holder) -or
        (($Holder -ceq '0.0.0.0') -and (-not (Test-Version6 -Address $Address))) -or
        ((Test-Wildcard -Address $Address) -and (-not (Test-Loopback -Address $Holder)))
}

# Listeners of a plan that cannot be had, with what the answer says of them. A port that
# a rule of ours has already, for another address, would be found to be taken; so would
# one whose rule a person removed by hand, because the service goes on listening.
function Find-TakenPorts {
    param([hashtable] $Plan, [hashtable] $Read)
    $ours = @{}
    foreach ($name in @($Read.Owned.Keys) + @($Read.Ledger.Keys)) { $ours[$name.Split('/')[-1]] = $true }
    $holders = $null
    foreach ($listener in $Plan.Added) {
        $listen = $listener.Split('/')
        if ($ours.ContainsKey($listen[1])) { continue }
        $code = Get-WinBindError -Address $listen[0] -Port ([int] $listen[1])
        if ($null -eq $holders) { $holders = Get-WinListeners -Protocol 'tcp' }
        $there = @()
        if ($holders.ContainsKey($listen[1])) { $there = @($holders[$listen[1]]) }
        $kind = Get-TakenKind -ErrorCode $code -Address $listen[0] -Holders $there
        if ($kind -cne '') { @{ Listener = $listener; Address = $listen[0]; Port = [int] $listen[1]; Kind = $kind } }
    }
}

# With the names of the programs that hold them, where Windows tells them.
function Add-Owners {
    param([object[]] $Taken)
    if (@($Taken).Count -eq 0) { return }
    $owners = @()
    try {
        $owners = @(Get-WinPortOwners -Protocol 'tcp')
    } catch {
        # The port is taken all the same.
    }
    foreach ($item in $Taken) {
        $name = $null
        $holders = @($owners | Where-Object { ($_.Port -eq $item.Port) -and (Test-Overlap -Address $item.Address -Holder $_.Address) })
        if ($holders.Count -gt 0) { $name = '{0} ({1})' -f $holders[0].Name, $holders[0].Id }
        [ordered] @{
            'protocol' = 'tcp'; 'listen-address' = $item.Address; 'listen-port' = $item.Port
            'kind' = $item.Kind; 'owner' = $name
        }
    }
}

# What went wrong, in an answer: the first sentence, and how many more there are.
function Set-Problems {
    param([System.Collections.IDictionary] $Answer, [string] $State, [string[]] $Problems)
    if ($Problems.Count -eq 0) { return }
    $Answer['state'] = $State
    $Answer['detail'] = $Problems[0]
    if ($Problems.Count -gt 1) { $Answer['detail'] = '{0} (and {1} more)' -f $Problems[0], ($Problems.Count - 1) }
}

# Of these listeners those that do not come to be open, or closed, in this time: the service opens a port a moment
# after the rule is made.
function Wait-Listeners {
    param([object[]] $Listeners, [bool] $Open, [int] $Milliseconds)
    $clock = New-WinClock
    while ($Listeners.Count -gt 0) {
        $there = Get-WinListeners -Protocol 'tcp'
        $Listeners = @(foreach ($listener in $Listeners) {
            $listen = $listener.Split('/')
            $addresses = @($there[$listen[1]])
            $found = ($addresses -ccontains $listen[0]) -or ($Open -and ($addresses -ccontains '0.0.0.0'))
            if ($found -ne $Open) { $listener }
        })
        if (($Listeners.Count -eq 0) -or ($clock.ElapsedMilliseconds -ge $Milliseconds)) { break }
        Wait-Win -Milliseconds 100
    }
    $Listeners
}

# The forwards of the relay on which nothing listens.
function Find-Silent {
    param([object[]] $Forwards)
    $found = @{}
    foreach ($forward in @($Forwards | Where-Object { $_.ServedBy -ceq 'relay' })) {
        if (-not $found.ContainsKey($forward.Protocol)) { $found[$forward.Protocol] = Get-WinListeners -Protocol $forward.Protocol }
        $addresses = @($found[$forward.Protocol][[string] $forward.ListenPort])
        # A relay on '::' has IPv4 alone where Windows has no IPv6.
        $one = (Test-Version6 -Address $forward.Address) -and ($forward.Address -cne '::')
        if (($addresses -ccontains $forward.Address) -or ((-not $one) -and ($addresses -ccontains '0.0.0.0'))) { continue }
        [ordered] @{ 'protocol' = $forward.Protocol; 'listen-address' = $forward.Address; 'listen-port' = $forward.ListenPort }
    }
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
        if ([int] $Matches['port'] -le 65535) { $connectPort = [int] $Matches['port'] }
    }
    [ordered] @{
        'listen-address' = $listen[0].Replace('*', '0.0.0.0'); 'listen-port' = [int] $listen[1]
        'connect-address' = $connectAddress; 'connect-port' = $connectPort
    }
}

function ConvertTo-Rules {
    param([System.Collections.IEnumerable] $Listeners, [hashtable] $Rules)
    $list = @(foreach ($listener in $Listeners) { ConvertTo-Rule -Listener $listener -Target $Rules[$listener] })
    $list | Sort-Object -Property { $_['listen-port'] }, { $_['listen-address'] }
}

# An answer without the facts that the caller fills in.
function New-Answer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1
        'state' = $State; 'detail' = $Detail; 'elevated' = $false
        'rules' = @(); 'added' = 0; 'removed' = 0; 'kept' = 0; 'restored' = @()
        'conflicts' = @(); 'taken' = @(); 'refused' = @(); 'narrower' = @(); 'silent' = @()
        'firewall' = $null
        'installed' = $null; 'local-app-data' = $null; 'guest-address' = $null; 'windows-address' = $null; 'lowest-mtu' = $null
        'dynamic' = $null
    }
}

# An answer of a run that changed nothing: kept are all rules of ours that exist.
function New-UnchangedAnswer {
    param([string] $State, $Detail, [hashtable] $Plan, [hashtable] $Read)
    $answer = New-Answer -State $State -Detail $Detail
    $answer['rules'] = @(ConvertTo-Rules -Listeners $Read.Owned.Keys -Rules $Read.Rules)
    $answer['kept'] = $Read.Owned.Count
    $answer['conflicts'] = @(ConvertTo-Rules -Listeners $Plan.Conflicts -Rules $Read.Rules)
    $answer
}

# An answer of a run that wrote rules, judged by the rules and the listeners as read back.
function New-ChangedAnswer {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $After, [hashtable] $Lingering)
    $answer = New-UnchangedAnswer -State 'synced' -Detail $null -Plan $Plan -Read $After
    $answer['kept'] = 0
    $problems = @()
    $made = @()
    foreach ($part in @(@{ Field = 'kept'; Of = $Plan.Kept }, @{ Field = 'added'; Of = $Plan.Changed + $Plan.Added })) {
        foreach ($listener in $part.Of) {
            $port = $listener.Split('/')[1]
            if ($After.Rules[$listener] -ceq $Wanted[$listener]) {
                $answer[$part.Field] += 1
                $made += $listener
            } elseif ($null -eq $After.Rules[$listener]) {
                $problems += 'port {0}: Windows did not create the forward; is the service IP Helper (iphlpsvc) running?' -f $port
            } else {
                $problems += 'port {0} leads to another place: another program changed the rule just now' -f $port
            }
        }
    }
    $answer['restored'] = @(foreach ($listener in @($Plan.Lost | Where-Object { $made -ccontains $_ })) {
        $listen = $listener.Split('/')
        [ordered] @{ 'listen-address' = $listen[0]; 'listen-port' = [int] $listen[1] }
    })
    foreach ($listener in $Plan.Removed) {
        if ($After.Owned.ContainsKey($listener)) {
            $port = $listener.Split('/')[1]
            $problems += 'port {0} is still forwarded: Windows did not remove it; is the service IP Helper (iphlpsvc) running?' -f $port
        } else {
            $answer['removed'] += 1
        }
    }
    $script:Step = 'look at the ports'
    foreach ($listener in @(Wait-Listeners -Listeners $made -Open $true -Milliseconds (1000 * [int] ($Plan.Changes -gt 0)))) {
        $listen = $listener.Split('/')
        # On an address that Windows does not have (10049) nothing can listen.
        if ((Get-WinBindError -Address $listen[0] -Port ([int] $listen[1])) -ne 10049) {
            $problems += 'port {0}: Windows does not listen on it; restart the service IP Helper (iphlpsvc)' -f $listen[1]
        }
    }
    foreach ($listener in $Lingering.Keys) {
        $port = $listener.Split('/')[1]
        $problems += 'port {0} is still listened on; restart the service IP Helper (iphlpsvc) or Windows' -f $port
    }
    Set-Problems -Answer $answer -State 'partial' -Problems $problems
    $answer
}

# The rules, the ledger, and which of the rules are ours. In the ledger 'tcp/<listener>' names the target that a rule
# has; 'pending/tcp/<listener>' the one it is about to get. With both on record a run that is killed while it re-points
# a rule still knows the rule as its own. Other names belong to other versions and stay.
function Read-Rules {
    param([string] $Sid)
    $script:Step = 'read the rules'
    $rules = Read-ProxyRules
    $script:Step = 'read the ledger'
    $ledger = Select-Named -Values (Get-LedgerValues -Sid $Sid) -Pattern '\A(?:pending/)?tcp/'
    @{ Rules = $rules; Ledger = $ledger; Owned = Select-Owned -Rules $rules -Ledger $ledger }
}

# Port proxy rules of ours as forwards, as far as the policy has the port proxy serve them.
function Get-OwnForwards {
    param([string] $Sid, [hashtable] $Policy)
    $owned = (Read-Rules -Sid $Sid).Owned
    foreach ($listener in $owned.Keys) {
        $ports = @([int] $listener.Split('/')[1], [int] $owned[$listener].Split('/')[1])
        $grant = Find-Grant -Policy $Policy -Protocol 'tcp' -ListenPort $ports[0] -ConnectPort $ports[1]
        if (($null -ne $grant) -and ((Get-GrantServer -Policy $Policy -Grant $grant) -ceq 'portproxy')) { $grant + @{ ListenPort = $ports[0]; ServedBy = 'portproxy'; Listener = $listener } }
    }
}

# Ports of ours that have no rule and are not asked for, and that are listened on all the same, for up to a
# second, by a service of Windows or by what is not known.
function Find-Lingering {
    param([hashtable] $Ledger, [System.Collections.IDictionary] $Wanted, [hashtable] $Rules)
    $claimed = @{}
    foreach ($name in $Ledger.Keys) {
        $listener = $name -creplace '\A(?:pending/)?tcp/', ''
        $ours = ($listener -cmatch $EndpointPattern) -and ($Ledger[$name] -cmatch $EndpointPattern)
        if ($ours -and -not ($Rules.ContainsKey($listener) -or $Wanted.Contains($listener))) { $claimed[$listener] = $Ledger[$name] }
    }
    $found = @{}
    $left = @(Wait-Listeners -Listeners @($claimed.Keys) -Open $false -Milliseconds 1000)
    if ($left.Count -gt 0) {
        # Another program may have the port by now.
        $others = @(Get-WinPortOwners -Protocol 'tcp' | Where-Object { $_.Name -cne 'svchost' } | ForEach-Object { '{0}/{1}' -f $_.Address, $_.Port })
        foreach ($listener in @($left | Where-Object { $others -cnotcontains $_ })) { $found[$listener] = $claimed[$listener] }
    }
    $found
}

# Ledger, rules, ledger: in this order a run that is killed leaves no rule that its owner no longer knows.
# Returns the answer, and the rules of ours that exist. The lock is the caller's.
function Update-Rules {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Read, [string] $Sid)
    $script:Step = 'write the ledger before the rules'
    Set-LedgerValues -Sid $Sid -Old $Read.Ledger -New $Plan.Before
    $rules = $Read.Rules
    $lines = @(Get-NetshLines -Verb 'delete' -Listeners $Plan.Removed -Targets $Wanted)
    $lines += @(Get-NetshLines -Verb 'set' -Listeners $Plan.Changed -Targets $Wanted)
    $lines += @(Get-NetshLines -Verb 'add' -Listeners $Plan.Added -Targets $Wanted)
    if ($lines.Count -eq 0) {
        # The service goes on listening where it did not hear that a value went (it was deleted by hand, or by an
        # uninstall because netsh did not do it). It hears of a rule that netsh makes and removes.
        $script:Step = 'look at the ports'
        $lingering = Find-Lingering -Ledger $Plan.Before -Wanted $Wanted -Rules $rules
        $lines = @('add', 'delete' | ForEach-Object { Get-NetshLines -Verb $_ -Listeners $lingering.Keys -Targets $lingering })
    }
    if ($lines.Count -gt 0) {
        $script:Step = 'run netsh'
        Invoke-NetshScript -Lines $lines
        $script:Step = 'read the rules back'
        $rules = Read-ProxyRules
    }
    $after = @{ Rules = $rules; Owned = Select-Owned -Rules $rules -Ledger $Plan.Before }
    $script:Step = 'look at the ports'
    $lingering = Find-Lingering -Ledger $Plan.Before -Wanted $Wanted -Rules $rules
    $script:Step = 'write the ledger after the rules'
    Set-LedgerValues -Sid $Sid -Old $Plan.Before -New (Add-Prefix -Values ($after.Owned + $lingering) -Prefix 'tcp/')
    @{ Answer = New-ChangedAnswer -Wanted $Wanted -Plan $Plan -After $after -Lingering $lingering; Owned = $after.Owned }
}

# Ports that another program has are found before the rules are made: the port proxy
# says nothing when it cannot listen.
function Sync-Rules {
    param([object[]] $Forwards, $Guest, [string] $Sid)
    $read = Read-Rules -Sid $Sid
    $wanted = Get-WantedRules -Forwards $Forwards -Guest $Guest -Owned $read.Owned
    $plan = New-Plan -Wanted $wanted -Read $read
    $script:Step = 'ask for the service iphlpsvc'
    if ((($wanted.Count -gt 0) -or ($plan.Changes -gt 0)) -and (-not (Test-WinService -Name 'iphlpsvc'))) {
        $answer = New-UnchangedAnswer -State 'service-stopped' -Detail $null -Plan $plan -Read $read
        return @{ Answer = $answer; Owned = $read.Owned; Taken = @() }
    }
    $script:Step = 'try the ports'
    $taken = @(Find-TakenPorts -Plan $plan -Read $read)
    if ($taken.Count -gt 0) {
        foreach ($item in $taken) { $wanted.Remove($item.Listener) }
        $plan = New-Plan -Wanted $wanted -Read $read
    }
    (Update-Rules -Wanted $wanted -Plan $plan -Read $read -Sid $Sid) + @{ Taken = $taken }
}

# Rules first, then the firewall, whose failure undoes no rule; last the names of the
# programs that hold our ports. Policy: $null where none is installed.
function Sync-Forwards {
    param([object[]] $Forwards, $Guest, [string] $Sid, $Policy)
    $result = Sync-Rules -Forwards $Forwards -Guest $Guest -Sid $Sid
    $answer = $result.Answer
    $answer['elevated'] = $true
    $answer['firewall'] = Sync-Firewall -Policy $Policy -Forwards $Forwards -Owned $result.Owned -Sid $Sid -Guest '' -Write $true
    # What went wrong there is said there.
    if (($answer['state'] -ceq 'synced') -and ($answer['firewall']['state'] -ceq 'failed')) { $answer['state'] = 'partial' }
    $answer['taken'] = @(Add-Owners -Taken $result.Taken)
    $answer
}

function Get-LedgerValues {
    param([string] $Sid)
    Get-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid + '\ledger')
}

# Makes the ledger New where it was Old. 'tcp/' is written before 'pending/': a
# pending target that has become true must be on record before the next replaces it.
function Set-LedgerValues {
    param([string] $Sid, [hashtable] $Old, [hashtable] $New)
    $values = [ordered] @{}
    foreach ($name in @($New.Keys | Sort-Object -Descending)) {
        if ($Old[$name] -cne $New[$name]) { $values[$name] = $New[$name] }
    }
    $removed = @($Old.Keys | Where-Object { -not $New.ContainsKey($_) })
    if ($values.Count + $removed.Count -gt 0) {
        Set-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid + '\ledger') -Values $values -Removed $removed
    }
}

# netsh takes its orders from a file, whatever their number. This process is elevated and its %TEMP% belongs
# to the user: a program of the user without elevation could rewrite a file there before netsh, elevated,
# reads it. So the file lies beside the lock, in the folder below Program Files that administrators alone write:
# one that a run leaves there because it is stopped is replaced by the next. It is born with an access list
# (and an owner) that leaves out everyone but administrators and the system, and must not exist before.
function Invoke-NetshScript {
    param([string[]] $Lines)
    $path = (Get-InstalledFolder) + '\netsh.txt'
    Remove-WinFile -Path $path -Tries 1
    $bytes = [System.Text.Encoding]::ASCII.GetBytes(($Lines -join "`r`n") + "`r`n")
    $stream = New-WinFile -Path $path -Mode 'CreateNew' -Security $OwnSecurity
    try {
        $stream.Write($bytes, 0, $bytes.Length)
    } finally {
        $stream.Dispose()
    }
    try {
        # Its text is localised and its exit code says little; the rules are read back.
        [void] (Invoke-Netsh -Path $path)
    } finally {
        Remove-WinFile -Path $path -Tries 1
    }
}
