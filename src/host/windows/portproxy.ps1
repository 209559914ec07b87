# Which rules of Windows' port proxy are ours, and what has to change.

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
