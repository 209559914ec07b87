# Forwards, and the rules of Windows' port proxy that serve them.

function New-Forward {
    param([string] $Protocol, [string] $Address, [int] $ListenPort, [int] $ConnectPort, [string] $ServedBy, [string] $Firewall)
    @{
        Protocol = $Protocol
        Address = $Address
        ListenPort = $ListenPort
        ConnectPort = $ConnectPort
        ServedBy = $ServedBy
        Firewall = $Firewall
        Listener = '{0}/{1}' -f $Address, $ListenPort
    }
}

# Who serves a forward depends on the mode: the port proxy and the relay lead to a
# guest behind NAT, and would take the port from a guest that shares it with Windows.
# The port proxy knows TCP alone.
function Test-ServedBy {
    param([string] $Mode, [string] $Protocol, [string] $ServedBy)
    if ($Mode -ceq 'mirrored') {
        return $ServedBy -ceq 'guest'
    }
    ($ServedBy -ceq 'relay') -or (($ServedBy -ceq 'portproxy') -and ($Protocol -ceq 'tcp'))
}

# What the port proxy must hold for these forwards: listener to target, in their
# order. A listener and a target are both written 'address/port', as the registry
# has them. Others than the port proxy's forwards have nothing to stand there.
function Get-Wanted {
    param([object[]] $Forwards, $Guest)
    $wanted = [ordered] @{}
    foreach ($forward in $Forwards) {
        if ($forward.ServedBy -ceq 'portproxy') {
            $wanted[$forward.Listener] = '{0}/{1}' -f $Guest, $forward.ConnectPort
        }
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

# What a bind and the listeners that there are say: '' for free. WSL's own relay, like
# others, holds single ports of loopback, which keeps nobody from listening on all
# addresses. An address that Windows does not have (yet) is no taken port either.
#
# A bind that succeeds is no proof: Windows lets one socket have all addresses and
# another a single one, and connections to that one then go by. Listeners by IPv6 do not
# count there: one that took IPv4 too would have made the bind fail.
function Get-TakenKind {
    param([int] $ErrorCode, [string] $Address, [object[]] $Holders)
    if ($ErrorCode -eq 0) {
        if (@($Holders | Where-Object { ($_ -cnotlike '*:*') -and (Test-Meets -Address $Address -Holder $_) }).Count -gt 0) {
            return 'in-use'
        }
        return ''
    }
    if (($ErrorCode -ne 10013) -and ($ErrorCode -ne 10048)) {
        return ''
    }
    $met = @($Holders | Where-Object { Test-Meets -Address $Address -Holder $_ })
    if ($met.Count -gt 0) {
        return 'in-use'
    }
    if ($ErrorCode -eq 10013) {
        return 'forbidden'
    }
    if (($Address -ceq '0.0.0.0') -and (@($Holders).Count -gt 0)) {
        return ''
    }
    'in-use'
}

# Whether who listens on Holder keeps us from Address.
function Test-Meets {
    param([string] $Address, [string] $Holder)
    if (($Holder -ceq '0.0.0.0') -or ($Holder -ceq '::') -or ($Holder -ceq $Address)) {
        return $true
    }
    ($Address -ceq '0.0.0.0') -and ($Holder -cnotlike '127.*') -and ($Holder -cne '::1')
}

# Listeners of a plan that cannot be had, with what the answer says of them. A port
# that a rule of ours has already, for another address, would be found to be taken.
function Find-Taken {
    param([hashtable] $Plan)
    $ours = @{}
    foreach ($listener in $Plan.Owned.Keys) {
        $ours[$listener.Split('/')[1]] = $true
    }
    $holders = $null
    foreach ($listener in $Plan.Added) {
        $listen = $listener.Split('/')
        if ($ours.ContainsKey($listen[1])) {
            continue
        }
        $code = Get-BindError -Address $listen[0] -Port ([int] $listen[1])
        if ($null -eq $holders) {
            $holders = Get-ListeningAddresses
        }
        $there = @()
        if ($holders.ContainsKey($listen[1])) {
            $there = @($holders[$listen[1]])
        }
        $kind = Get-TakenKind -ErrorCode $code -Address $listen[0] -Holders $there
        if ($kind -cne '') {
            @{ Listener = $listener; Address = $listen[0]; Port = [int] $listen[1]; Kind = $kind }
        }
    }
}

function Remove-Taken {
    param([System.Collections.IDictionary] $Wanted, [object[]] $Taken)
    $gone = @{}
    foreach ($item in $Taken) {
        $gone[$item.Listener] = $true
    }
    $left = [ordered] @{}
    foreach ($listener in $Wanted.Keys) {
        if (-not $gone.ContainsKey($listener)) {
            $left[$listener] = $Wanted[$listener]
        }
    }
    $left
}

# Who holds them, where Windows tells it.
function Add-Owners {
    param([object[]] $Taken)
    if (@($Taken).Count -eq 0) {
        return
    }
    $owners = @()
    try {
        $owners = @(Get-PortOwners)
    } catch {
        # The port is taken all the same.
        $null = $_
    }
    foreach ($item in $Taken) {
        $name = $null
        foreach ($owner in $owners) {
            if (($null -eq $name) -and ($owner.Port -eq $item.Port) -and (Test-Meets -Address $item.Address -Holder $owner.Address)) {
                $name = '{0} ({1})' -f $owner.Name, $owner.Id
            }
        }
        [ordered] @{
            'protocol' = 'tcp'
            'listen-address' = $item.Address
            'listen-port' = $item.Port
            'kind' = $item.Kind
            'owner' = $name
        }
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

# An answer without the facts that the caller fills in.
function New-Answer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1
        'state' = $State
        'detail' = $Detail
        'elevated' = $false
        'rules' = @()
        'added' = 0
        'removed' = 0
        'kept' = 0
        'conflicts' = @()
        'taken' = @()
        'refused' = @()
        'firewall' = $null
        'installed' = $null
        'local-app-data' = $null
        'guest-address' = $null
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

# Where our rules stand, and what would have to change.
function Read-Table {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid)
    $script:Step = 'read the rules'
    $rules = Select-Listeners -Values (Get-PortProxyValues)
    $script:Step = 'read the ledger'
    $ledger = Select-Ledger -Values (Get-LedgerValues -Sid $Sid)
    @{ Rules = $rules; Ledger = $ledger; Plan = New-Plan -Wanted $Wanted -Rules $rules -Ledger $ledger }
}

# What an elevated run does. The lock is the caller's.
#
# Ledger, rules, ledger: in this order a run that is killed leaves no rule that
# its owner no longer knows. Returns the answer, and the rules of ours that stand.
function Update-Table {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Table, [string] $Sid)
    $plan = $Table.Plan
    $script:Step = 'write the ledger before the rules'
    Set-LedgerValues -Sid $Sid -Old $Table.Ledger -New $plan.Before
    $read = $Table.Rules
    if ($plan.Changes -gt 0) {
        $script:Step = 'run netsh'
        Invoke-NetshScript -Lines @(Get-NetshLines -Plan $plan -Wanted $Wanted) -Sid $Sid
        $script:Step = 'read the rules back'
        $read = Select-Listeners -Values (Get-PortProxyValues)
    }
    $owned = Select-Owned -Rules $read -Ledger $plan.Before
    $script:Step = 'write the ledger after the rules'
    Set-LedgerValues -Sid $Sid -Old $plan.Before -New (Get-LedgerAfter -Owned $owned)
    @{ Answer = New-WrittenAnswer -Wanted $Wanted -Plan $plan -Rules $read -Owned $owned; Owned = $owned }
}

# Ports that somebody else has are found before the rules are made: the port proxy
# says nothing when it cannot listen.
function Sync-Table {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid)
    $table = Read-Table -Wanted $Wanted -Sid $Sid
    $script:Step = 'ask for the service iphlpsvc'
    if ((($Wanted.Count -gt 0) -or ($table.Plan.Changes -gt 0)) -and (-not (Test-ProxyService))) {
        $answer = New-StandingAnswer -State 'service-stopped' -Detail $null -Plan $table.Plan -Rules $table.Rules
        return @{ Answer = $answer; Owned = $table.Plan.Owned; Taken = @() }
    }
    $script:Step = 'try the ports'
    $taken = @(Find-Taken -Plan $table.Plan)
    $left = $Wanted
    if ($taken.Count -gt 0) {
        $left = Remove-Taken -Wanted $Wanted -Taken $taken
        $table.Plan = New-Plan -Wanted $left -Rules $table.Rules -Ledger $table.Ledger
    }
    $result = Update-Table -Wanted $left -Table $table -Sid $Sid
    @{ Answer = $result.Answer; Owned = $result.Owned; Taken = $taken }
}

# Table first, then the firewall, whose failure is its own; last the names of those
# who hold our ports, which WMI tells: where that hangs the forwards are made, and it is
# given up soon.
function Sync-Forwards {
    param([object[]] $Forwards, $Guest, [string] $Sid, [int] $Profiles)
    $wanted = Get-Wanted -Forwards $Forwards -Guest $Guest
    $result = Sync-Table -Wanted $wanted -Sid $Sid
    $answer = $result.Answer
    $answer['elevated'] = $true
    $answer['firewall'] = Sync-Firewall -Forwards $Forwards -Owned $result.Owned -Sid $Sid -Profiles $Profiles
    $answer['taken'] = @(Add-Owners -Taken $result.Taken)
    $answer
}

function Test-ProxyService {
    # The name of the enumeration's member is never localised.
    $service = Get-Service -Name 'iphlpsvc'
    ([string] $service.Status) -ceq 'Running'
}

function Get-PortProxyValues {
    Get-RegistryValues -Path 'SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp'
}

# The folder of the user below Program Files, which administrators alone write: a file
# that a run leaves there because it is stopped is replaced by the next, and goes with an
# uninstall. Where nothing is installed Windows' own Temp, under a random name.
function Get-NetshPath {
    param([string] $Sid)
    $own = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid)
    if ([System.IO.Directory]::Exists($own)) {
        return [System.IO.Path]::Combine($own, 'netsh.txt')
    }
    [System.IO.Path]::Combine([Environment]::GetFolderPath('Windows'), 'Temp', 'wslmesh-' + [System.IO.Path]::GetRandomFileName())
}

# netsh takes its orders from a file, whatever their number. This process is
# elevated and its %TEMP% belongs to the user: a program of the user without
# elevation could rewrite a file there before netsh, elevated, reads it. So the file is
# born with an access list (and an owner) that leaves out everyone but administrators
# and the system, and must not exist before.
function Invoke-NetshScript {
    param([string[]] $Lines, [string] $Sid)
    $bytes = [System.Text.Encoding]::ASCII.GetBytes(($Lines -join "`r`n") + "`r`n")
    $path = Get-NetshPath -Sid $Sid
    [System.IO.File]::Delete($path)
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

function Remove-PortProxyValues {
    param([string[]] $Names)
    $machine = Open-LocalMachine
    try {
        $key = $machine.OpenSubKey('SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp', $true)
        if ($null -ne $key) {
            try {
                foreach ($name in $Names) {
                    $key.DeleteValue($name, $false)
                }
                $key.Flush()
            } finally {
                $key.Dispose()
            }
        }
    } finally {
        $machine.Dispose()
    }
}
