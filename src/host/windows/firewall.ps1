# Which rules of the firewall are ours, and what has to change. A rule is ours when
# its name is in our ledger; no other is ever changed or removed.

# The ledger's own values: 'firewall/<name of the rule>' to where the rule lies.
function Select-FirewallLedger {
    param([hashtable] $Values)
    $ledger = @{}
    foreach ($name in $Values.Keys) {
        if (($name -cmatch '\Afirewall/(?<rule>wslmesh-[A-Za-z0-9-]{1,120})\z') -and (@('windows', 'hyper-v') -ccontains $Values[$name])) {
            $ledger[$name.Substring(9)] = $Values[$name]
        }
    }
    $ledger
}

function ConvertTo-LedgerValues {
    param([hashtable] $Ledger)
    $values = @{}
    foreach ($name in $Ledger.Keys) {
        $values['firewall/' + $name] = $Ledger[$name]
    }
    $values
}

# The rule that a forward needs. What listens decides what it is for: the service of
# the port proxy, the relay's program, or the guest itself, whose firewall is another.
function New-FirewallRule {
    param([hashtable] $Forward, [string] $Sid, [int] $Profiles, [hashtable] $Programs)
    $rule = @{
        Name = 'wslmesh-{0}-{1}-{2}-{3}' -f $Sid, $Forward.Protocol, $Forward.ListenPort, $Forward.ServedBy
        Store = 'windows'
        Protocol = 6
        Port = [int] $Forward.ListenPort
        Local = '*'
        Remote = 'LocalSubnet'
        Program = ''
        Service = ''
        Profiles = $Profiles
    }
    if ($Forward.Protocol -ceq 'udp') {
        $rule.Protocol = 17
    }
    if ($Forward.Address -cne '0.0.0.0') {
        $rule.Local = $Forward.Address
    }
    if ($Forward.Firewall -ceq 'full') {
        $rule.Remote = '*'
    }
    if ($Forward.ServedBy -ceq 'guest') {
        $rule.Store = 'hyper-v'
    } elseif ($Forward.ServedBy -ceq 'relay') {
        $rule.Program = [string] $Programs.Relay
    } else {
        $rule.Program = [string] $Programs.ServiceHost
        $rule.Service = 'iphlpsvc'
    }
    $rule
}

# Wanted rules by their names. None where nothing of ours listens: a port that is
# opened for another tool's port proxy rule would let the network in there. One rule
# serves forwards that differ in their listen addresses alone, for all of these and with
# the wider scope.
function Get-WantedFirewall {
    param([object[]] $Forwards, [hashtable] $Owned, [string] $Sid, [int] $Profiles, [hashtable] $Programs)
    $wanted = [ordered] @{}
    foreach ($forward in $Forwards) {
        if (($forward.Firewall -ceq 'none') -or ($forward.Address -clike '127.*') -or
            (($forward.ServedBy -ceq 'portproxy') -and (-not $Owned.ContainsKey($forward.Listener))) -or
            (($forward.ServedBy -ceq 'relay') -and ($null -eq $Programs.Relay))) {
            continue
        }
        $rule = New-FirewallRule -Forward $forward -Sid $Sid -Profiles $Profiles -Programs $Programs
        if ($wanted.Contains($rule.Name)) {
            $other = $wanted[$rule.Name]
            $rule.Local = Join-Local -One $other.Local -Other $rule.Local
            if ($other.Remote -ceq '*') {
                $rule.Remote = '*'
            }
        }
        $wanted[$rule.Name] = $rule
    }
    $wanted
}

# Both of two lists of local addresses; '*' is all there are.
function Join-Local {
    param([string] $One, [string] $Other)
    if (($One -ceq '*') -or ($Other -ceq '*')) {
        return '*'
    }
    $all = @{}
    foreach ($address in @($One.Split(',')) + @($Other.Split(','))) {
        $all[$address] = $true
    }
    @($all.Keys | Sort-Object) -join ','
}

# Windows writes a single address with its mask, and lists in an order of its own.
function Test-Local {
    param([string] $Wanted, [string] $Found)
    $plain = $Found.Replace('/255.255.255.255', '').Replace('/32', '').Replace(' ', '')
    (Join-Local -One $plain -Other $plain) -ceq (Join-Local -One $Wanted -Other $Wanted)
}

# Windows writes the local subnet in more than one way.
function Test-Remote {
    param([string] $Wanted, [string] $Found)
    if ($Wanted -ceq '*') {
        return $Found -ceq '*'
    }
    $Found -match '\ALocalSubnet[46]?(?:,LocalSubnet[46]?)*\z'
}

# Whether a rule that stands is the wanted one in all that decides what it lets through.
function Test-FirewallRule {
    param([hashtable] $Wanted, [hashtable] $Found)
    $Found.Enabled -and $Found.Inbound -and $Found.Allow -and
        ($Found.Protocol -eq $Wanted.Protocol) -and
        ($Found.LocalPorts -ceq [string] $Wanted.Port) -and
        (Test-Remote -Wanted $Wanted.Remote -Found $Found.Remote) -and
        (Test-Local -Wanted $Wanted.Local -Found $Found.LocalAddresses) -and
        ($Found.RemotePorts -ceq '*') -and
        ($Found.Program -eq $Wanted.Program) -and
        ($Found.Service -eq $Wanted.Service) -and
        (($Found.Profiles -band 7) -eq ($Wanted.Profiles -band 7))
}

# What to do. Found has a list for each name: names of rules need not be unique.
# Before: the ledger as it must be on record before the first rule changes.
function New-FirewallPlan {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Found, [hashtable] $Ledger)
    $before = @{}
    $add = New-Object System.Collections.ArrayList
    $replace = New-Object System.Collections.ArrayList
    $remove = New-Object System.Collections.ArrayList
    $keep = New-Object System.Collections.ArrayList
    $foreign = New-Object System.Collections.ArrayList
    foreach ($name in $Ledger.Keys) {
        if (-not $Found.ContainsKey($name)) {
            continue
        }
        $before[$name] = $Ledger[$name]
        if (-not $Wanted.Contains($name)) {
            [void] $remove.Add($name)
        }
    }
    foreach ($name in $Wanted.Keys) {
        if (-not $Found.ContainsKey($name)) {
            [void] $add.Add($name)
            $before[$name] = $Wanted[$name].Store
        } elseif (-not $Ledger.ContainsKey($name)) {
            [void] $foreign.Add($name)
        } elseif (($Found[$name].Count -eq 1) -and (Test-FirewallRule -Wanted $Wanted[$name] -Found $Found[$name][0])) {
            [void] $keep.Add($name)
        } else {
            [void] $replace.Add($name)
        }
    }
    @{
        Before = $before
        Added = $add
        Replaced = $replace
        Removed = $remove
        Kept = $keep
        Foreign = $foreign
        Changes = $add.Count + $replace.Count + $remove.Count
    }
}

# Rules that are in the ledger and stand.
function Get-FirewallLedgerAfter {
    param([hashtable] $Before, [hashtable] $Found)
    $ledger = @{}
    foreach ($name in $Before.Keys) {
        if ($Found.ContainsKey($name)) {
            $ledger[$name] = $Before[$name]
        }
    }
    $ledger
}
