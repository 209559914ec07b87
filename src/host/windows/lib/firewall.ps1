# Which rules of the firewall are ours, and what has to change. A rule is ours when
# its name is in our ledger, or is one of the machine's two, which all users share; no
# other is ever changed or removed.

$MachineRules = @('wslmesh-machine-loopback', 'wslmesh-machine-block')

# WSL, as the firewall of guests knows it.
$GuestCreator = '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}'
$script:GuestClock = $null

# The ledger's own values: 'firewall/<name of the rule>' to the firewall that has it.
function Read-FirewallLedger {
    param([string] $Sid)
    $values = Select-Named -Values (Get-LedgerValues -Sid $Sid) -Pattern '\Afirewall/wslmesh-[A-Za-z0-9-]{1,120}\z'
    $ledger = @{}
    foreach ($name in $values.Keys) {
        if (@('windows', 'hyper-v') -ccontains $values[$name]) { $ledger[$name.Substring(9)] = $values[$name] }
    }
    $ledger
}

function Test-Wildcard {
    param([string] $Address)
    @('0.0.0.0', '::') -ccontains $Address
}

function Test-Loopback {
    param([string] $Address)
    ($Address -clike '127.*') -or ($Address -ceq '::1')
}

# The rule that a forward or a grant needs. LocalSubnet is of both families. What listens decides what it is for: the service of the port proxy, the
# relay's program, or the guest itself. Windows applies a rule without a program to guests too, where it merges its
# rules into theirs (microsoft/WSL#10495).
function New-FirewallRule {
    param([hashtable] $Forward, [string] $Ports, [string] $ServedBy, [string] $Sid, [int] $Profiles)
    $rule = @{
        Name = 'wslmesh-{0}-{1}-{2}-{3}' -f $Sid, $Forward.Protocol, $Ports, $ServedBy
        Store = 'windows'; Allow = $true
        Protocol = @{ 'tcp' = 6; 'udp' = 17 }[$Forward.Protocol]
        Ports = $Ports; Local = '*'
        Remote = @{ 'local' = 'LocalSubnet'; 'full' = '*' }[$Forward.Firewall]
        Program = ''; Service = ''; Profiles = $Profiles
    }
    if (-not (Test-Wildcard -Address $Forward.Address)) { $rule.Local = $Forward.Address }
    if ($ServedBy -ceq 'relay') { $rule.Program = Get-RelayPath }
    if ($ServedBy -ceq 'portproxy') {
        $rule.Program = (Get-KnownFolder -Name 'System') + '\svchost.exe'
        $rule.Service = 'iphlpsvc'
    }
    if ($ServedBy -ceq 'hyperv') {
        $rule.Store = 'hyper-v'
        if ($Forward.Firewall -ceq 'local') { $rule.Remote = Get-LocalSubnets }
    }
    $rule
}

# Windows asks the person about a program that listens and has no rule, and the answer No leaves a Block rule that
# beats ours. So the relay has a rule for each kind of networks: one that shuts those that no user of this machine
# agreed to, and one that lets in loopback alone, which is let in anyway. $null: the policy of this user goes.
function Get-MachineRules {
    param($Policy, [string] $Sid)
    $agreed = 0
    if ($null -ne $Policy) { $agreed = $Policy.Profiles }
    foreach ($other in @(Find-OtherUsers -Sid $Sid)) {
        try {
            $agreed = $agreed -bor (ConvertTo-Policy -Text (Get-OwnValue -Sid $other -Name 'policy')).Profiles
        } catch [System.IO.InvalidDataException] {
            # What cannot be read agrees to nothing.
        }
    }
    if ($agreed -eq 0) { return }
    foreach ($kind in @(@($MachineRules[0], $true, '127.0.0.1', $agreed), @($MachineRules[1], $false, '*', (7 -band (-bnot $agreed))))) {
        if ($kind[3] -eq 0) { continue }
        @{
            Name = $kind[0]; Store = 'windows'; Allow = $kind[1]; Protocol = 256; Ports = ''; Local = $kind[2]
            Remote = '*'; Program = Get-RelayPath; Service = ''; Profiles = $kind[3]
        }
    }
}

# Wanted rules by their names: those of the policy ($null: there is none), and of the port proxy's forwards. None
# where nothing of ours listens: a port that is opened for another tool's port proxy rule would let the network in
# there. One rule serves forwards that differ in their listen addresses alone, for all of these and with the wider
# scope. Guest: what a rule for the guest is called, and so which firewall it is for.
function Get-WantedFirewall {
    param($Policy, [object[]] $Forwards, [hashtable] $Owned, [string] $Sid, [string] $Guest)
    $profiles = 3
    $rules = @()
    if ($null -ne $Policy) {
        $profiles = $Policy.Profiles
        foreach ($grant in $Policy.Grants) {
            $server = @{ 'relay' = 'relay'; 'guest' = $Guest }[(Get-GrantServer -Policy $Policy -Grant $grant)]
            if (($null -eq $server) -or ($grant.Firewall -ceq 'none') -or (Test-Loopback -Address $grant.Address)) { continue }
            $ports = '{0}-{1}' -f $grant.Listen.First, $grant.Listen.Last
            if ($grant.Listen.First -eq $grant.Listen.Last) { $ports = [string] $grant.Listen.First }
            $rules += New-FirewallRule -Forward $grant -Ports $ports -ServedBy $server -Sid $Sid -Profiles $profiles
        }
    }
    foreach ($forward in $Forwards) {
        $silent = ($forward.Firewall -ceq 'none') -or (Test-Loopback -Address $forward.Address)
        if ($silent -or ($forward.ServedBy -cne 'portproxy') -or (-not $Owned.ContainsKey($forward.Listener))) { continue }
        $rules += New-FirewallRule -Forward $forward -Ports ([string] $forward.ListenPort) -ServedBy 'portproxy' -Sid $Sid -Profiles $profiles
    }
    $wanted = [ordered] @{}
    foreach ($rule in @($rules) + @(Get-MachineRules -Policy $Policy -Sid $Sid)) {
        if ($wanted.Contains($rule.Name)) {
            $other = $wanted[$rule.Name]
            $rule.Local = Join-Local -One $other.Local -Other $rule.Local
            if ($other.Remote -ceq '*') { $rule.Remote = '*' }
        }
        $wanted[$rule.Name] = $rule
    }
    $wanted
}

# Both of two lists of local addresses; '*' is all there are.
function Join-Local {
    param([string] $One, [string] $Other)
    if (($One -ceq '*') -or ($Other -ceq '*')) { return '*' }
    @(@($One.Split(',')) + @($Other.Split(',')) | Sort-Object -Unique) -join ','
}

# Windows writes a single address with its mask, and lists in an order of its own.
function Test-Local {
    param([string] $Wanted, [string] $Found)
    $plain = $Found.Replace('/255.255.255.255', '').Replace('/32', '').Replace('/128', '').Replace(' ', '')
    (Join-Local -One $plain -Other $plain) -ceq (Join-Local -One $Wanted -Other $Wanted)
}

# Windows writes the local subnet in more than one way. Hyper-V rules have the subnets themselves.
function Test-Remote {
    param([string] $Wanted, [string] $Found)
    if ($Wanted -ceq '*') { return $Found -ceq '*' }
    if ($Wanted -cne 'LocalSubnet') { return (Join-Local -One $Found -Other $Found) -ceq (Join-Local -One $Wanted -Other $Wanted) }
    $Found -match '\ALocalSubnet[46]?(?:,LocalSubnet[46]?)*\z'
}

# Whether an existing rule is the wanted one in all that decides what it lets through.
function Test-FirewallRule {
    param([hashtable] $Wanted, [hashtable] $Found)
    # Without a protocol there are no ports to be compared.
    $ports = ($Wanted.Protocol -eq 256) -or (($Found.LocalPorts -ceq $Wanted.Ports) -and ($Found.RemotePorts -ceq '*'))
    $Found.Enabled -and $Found.Inbound -and $ports -and
        ($Found.Allow -eq $Wanted.Allow) -and
        ($Found.Protocol -eq $Wanted.Protocol) -and
        (Test-Remote -Wanted $Wanted.Remote -Found $Found.Remote) -and
        (Test-Local -Wanted $Wanted.Local -Found $Found.LocalAddresses) -and
        ($Found.Program -eq $Wanted.Program) -and
        ($Found.Service -eq $Wanted.Service) -and
        (($Found.Profiles -band 7) -eq ($Wanted.Profiles -band 7))
}

# What to do. Found has a list for each name: names of rules need not be unique.
# Before: the ledger as it must be on record before the first rule changes.
function New-FirewallPlan {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Found, [hashtable] $Ledger)
    $plan = @{ Before = @{}; Added = @(); Replaced = @(); Removed = @(); Kept = @(); Lost = @(); Foreign = @(); Changes = 0 }
    foreach ($name in $Ledger.Keys) {
        if ($Found.ContainsKey($name)) {
            $plan.Before[$name] = $Ledger[$name]
            if (-not $Wanted.Contains($name)) { $plan.Removed += $name }
        }
    }
    foreach ($name in $Wanted.Keys) {
        if (-not $Found.ContainsKey($name)) {
            $plan.Added += $name
            $plan.Before[$name] = $Wanted[$name].Store
            # On record as made; the machine's are on none.
            if ($Ledger.ContainsKey($name) -and ($MachineRules -cnotcontains $name)) { $plan.Lost += $name }
        } elseif (-not $Ledger.ContainsKey($name)) {
            $plan.Foreign += $name
        } elseif (Test-Installed -Name $name -Wanted $Wanted -Found $Found) {
            $plan.Kept += $name
        } else {
            $plan.Replaced += $name
        }
    }
    $plan.Changes = $plan.Added.Count + $plan.Replaced.Count + $plan.Removed.Count
    $plan
}

# Whether exactly one rule has this name, and is the wanted one.
function Test-Installed {
    param([string] $Name, [System.Collections.IDictionary] $Wanted, [hashtable] $Found)
    $Found.ContainsKey($Name) -and ($Found[$Name].Count -eq 1) -and (Test-FirewallRule -Wanted $Wanted[$Name] -Found $Found[$Name][0])
}

# Rules of others that defeat ours: a Block rule beats every Allow rule.
#
# Whether a list of ports as the firewall writes it ('80,443,5000-5010', '*') holds one of these ('80', '80-90').
# Words in it, such as RPC, mean ports that are never forwarded.
function Test-PortList {
    param([string] $List, [string] $Ports)
    if (($List -ceq '') -or ($List -ceq '*')) { return $true }
    $ours = @($Ports.Split('-') | ForEach-Object { [int] $_ })
    foreach ($part in $List.Split(',')) {
        if ($part -cmatch '\A\s*(?<first>[0-9]{1,5})(?:-(?<last>[0-9]{1,5}))?\s*\z') {
            $first = [int] $Matches['first']
            $last = $first
            if ($Matches.ContainsKey('last')) { $last = [int] $Matches['last'] }
            if (($ours[-1] -ge $first) -and ($ours[0] -le $last)) { return $true }
        }
    }
    $false
}

# Whether it holds for such a rule, but for the ports. A Block rule for single machines is a
# decision about those, and does not defeat the forward. A rule for another program or
# service is about other listeners. The guest is no program of Windows: only rules without
# one reach it.
function Test-Block {
    param([hashtable] $Rule, [hashtable] $Block)
    (($Block.Protocol -eq 256) -or ($Block.Protocol -eq $Rule.Protocol)) -and
        (($Block.Program -ceq '') -or ($Block.Program -eq $Rule.Program)) -and
        (($Block.Service -ceq '') -or ($Block.Service -eq $Rule.Service) -or (($Block.Service -ceq '*') -and ($Rule.Service -cne ''))) -and
        (($Block.Profiles -band $Rule.Profiles) -ne 0) -and
        (($Block.LocalAddresses -ceq '*') -or (Test-Local -Wanted $Rule.Local -Found $Block.LocalAddresses)) -and
        (($Block.Remote -ceq '*') -or (Test-Remote -Wanted 'LocalSubnet' -Found $Block.Remote))
}

# Lines for a person, at most 20. Rules that differ in their ports alone are looked at
# once: a block of thousands of forwards must not take seconds under the lock.
function Find-Blocks {
    param([System.Collections.IDictionary] $Wanted, [object[]] $Blocks)
    $groups = [ordered] @{}
    # Loopback is let in whatever is blocked.
    foreach ($rule in @($Wanted.Values | Where-Object { $MachineRules -cnotcontains $_.Name })) {
        $key = @($rule.Protocol, $rule.Program, $rule.Service, $rule.Local) -join '|'
        if (-not $groups.Contains($key)) { $groups[$key] = New-Object System.Collections.ArrayList }
        [void] $groups[$key].Add($rule)
    }
    $lines = [ordered] @{}
    foreach ($group in $groups.Values) {
        foreach ($block in @($Blocks | Where-Object { Test-Block -Rule $group[0] -Block $_ })) {
            foreach ($rule in $group) {
                if (-not (Test-PortList -List $block.LocalPorts -Ports $rule.Ports)) { continue }
                $lines['{0} (port {1})' -f $block.Name, $rule.Ports] = $true
                if ($lines.Count -ge 20) { return $lines.Keys }
            }
        }
    }
    $lines.Keys
}

# The firewall's part of a sync. Its failure is reported and undoes nothing.
function New-FirewallAnswer {
    param([string] $State, $Detail)
    [ordered] @{
        'state' = $State; 'detail' = $Detail
        'added' = 0; 'removed' = 0; 'kept' = 0
        'blocks' = @(); 'profiles' = @(); 'covered' = $true; 'restored' = @(); 'guest' = $null
    }
}

function Select-Names {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Ledger, [string] $Store)
    $names = @{}
    foreach ($name in @($Wanted.Keys) + @($Ledger.Keys)) {
        if (($Ledger[$name] -ceq $Store) -or ($Wanted.Contains($name) -and ($Wanted[$name].Store -ceq $Store))) { $names[$name] = $true }
    }
    $names
}

# Rules of both firewalls that have one of the names. The cmdlets of the guest's
# firewall ask WMI: they are left alone where nothing is about them.
function Read-Firewall {
    param([hashtable] $Windows, [hashtable] $HyperV, [bool] $Blocking)
    $read = Get-WinFirewall -Names $Windows -Blocking $Blocking -Allowing $false
    if ($HyperV.Count -gt 0) {
        $guest = Get-WinGuestRules -Names $HyperV
        foreach ($name in $guest.Keys) { $read.Found[$name] = $guest[$name] }
    }
    $read
}

# Makes one change after the other; what fails is reported at the end, and the others are made. A rule that is
# replaced is removed first: names need not be unique. Returns why, by name, where one failed.
function Invoke-FirewallPlan {
    param([hashtable] $Plan, [System.Collections.IDictionary] $Wanted, [hashtable] $Found)
    $failed = @{}
    foreach ($part in @(@{ Old = $true; Of = $Plan.Removed + $Plan.Replaced }, @{ Old = $false; Of = $Plan.Replaced + $Plan.Added })) {
        foreach ($name in $part.Of) {
            try {
                if ($part.Old -and ($Plan.Before[$name] -ceq 'hyper-v')) {
                    Remove-WinGuestRule -Name $name
                } elseif ($part.Old) {
                    Remove-WinFirewallRule -Name $name -Count $Found[$name].Count
                } elseif ($Wanted[$name].Store -ceq 'hyper-v') {
                    Add-WinGuestRule -Rule $Wanted[$name]
                } else {
                    Add-WinFirewallRule -Rule $Wanted[$name]
                }
            } catch {
                $failed[$name] = ' (' + (Format-Failure -Step 'change it' -Failure $_) + ')'
            }
        }
    }
    $failed
}

# What one of our rules is for: its name is 'wslmesh-SID-PROTOCOL-PORT-SERVER'.
function Format-RuleName {
    param([string] $Name)
    if ($Name -cnotmatch '-(?<protocol>tcp|udp)-(?<port>[0-9-]+)-[a-z]+\z') { return 'the firewall rule ' + $Name }
    'the firewall rule for {0} port {1}' -f $Matches['protocol'].ToUpperInvariant(), $Matches['port']
}

# Judged by the rules as read back. Failed: why a change was not made, by name.
function New-FirewallResult {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Found, [hashtable] $Failed)
    $answer = New-FirewallAnswer -State 'done' -Detail $null
    $problems = @()
    foreach ($part in @(@{ Field = 'kept'; Of = $Plan.Kept }, @{ Field = 'added'; Of = $Plan.Replaced + $Plan.Added })) {
        foreach ($name in $part.Of) {
            if (Test-Installed -Name $name -Wanted $Wanted -Found $Found) {
                $answer[$part.Field] += [int] ($MachineRules -cnotcontains $name)
            } else {
                $problems += (Format-RuleName -Name $name) + ' is missing or different' + $Failed[$name]
            }
        }
    }
    foreach ($name in $Plan.Removed) {
        if ($Found.ContainsKey($name)) {
            $problems += (Format-RuleName -Name $name) + ' is still there' + $Failed[$name]
        } else {
            $answer['removed'] += [int] ($MachineRules -cnotcontains $name)
        }
    }
    $there = @($Plan.Lost | Where-Object { Test-Installed -Name $_ -Wanted $Wanted -Found $Found })
    $answer['restored'] = @($there | ForEach-Object { Format-RuleName -Name $_ })
    foreach ($name in $Plan.Foreign) {
        $problems += '{0} is there and not made by wslmesh: remove the rule {1} by hand' -f (Format-RuleName -Name $name), $name
    }
    Set-Problems -Answer $answer -State 'failed' -Problems $problems
    $answer
}

# Rules of the group wslmesh that no ledger can know: a person renamed or copied one of
# ours. Those of another Windows user have that user's SID in their names.
function Format-Strangers {
    param([string[]] $Names, [string] $Sid)
    $strange = @($Names | Where-Object { ($_ -clike ('wslmesh-' + $Sid + '-*')) -or ($_ -cnotmatch '\Awslmesh-(?:S-1-|machine-)') })
    if ($strange.Count -eq 0) { return $null }
    'firewall rules of the group wslmesh that wslmesh does not know as its own ({0}), such as "{1}": remove them by hand' -f $strange.Count, $strange[0]
}

# HyperV: whether the rules of the guest's own firewall are seen to. Their cmdlets are slow, so others than the setup
# leave them as they are. Without Write nothing is changed, and the answer says what would have to be.
function Update-Firewall {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid, [int] $Profiles, [bool] $HyperV, [bool] $Write)
    $script:Step = 'read the ledger of the firewall'
    $ledger = Read-FirewallLedger -Sid $Sid
    $old = Add-Prefix -Values $ledger -Prefix 'firewall/'
    # What is the machine's is no user's, and known by its name.
    foreach ($name in $MachineRules) { $ledger[$name] = 'windows' }
    $script:Step = 'look for the guest''s firewall'
    $names = Select-Names -Wanted $Wanted -Ledger $ledger -Store 'hyper-v'
    if (($names.Count -gt 0) -and -not ($HyperV -and (Test-WinGuestFirewall))) {
        foreach ($name in @($names.Keys)) {
            $Wanted.Remove($name)
            $ledger.Remove($name)
            $old.Remove('firewall/' + $name)
        }
        $names = @{}
    }
    $windows = Select-Names -Wanted $Wanted -Ledger $ledger -Store 'windows'
    $script:Step = 'read the firewall'
    $read = Read-Firewall -Windows $windows -HyperV $names -Blocking ($Wanted.Count -gt 0)
    $plan = New-FirewallPlan -Wanted $Wanted -Found $read.Found -Ledger $ledger
    $failed = @{}
    if ($Write) {
        $script:Step = 'write the ledger before the firewall'
        foreach ($name in $MachineRules) { $plan.Before.Remove($name) }
        $before = Add-Prefix -Values $plan.Before -Prefix 'firewall/'
        Set-LedgerValues -Sid $Sid -Old $old -New $before
        if ($plan.Changes -gt 0) {
            $script:Step = 'change the firewall'
            $failed = Invoke-FirewallPlan -Plan $plan -Wanted $Wanted -Found $read.Found
            $script:Step = 'read the firewall back'
            $read = Read-Firewall -Windows $windows -HyperV $names -Blocking ($Wanted.Count -gt 0)
        }
        $script:Step = 'write the ledger after the firewall'
        $after = @{}
        foreach ($name in $plan.Before.Keys) {
            if ($read.Found.ContainsKey($name)) { $after['firewall/' + $name] = $plan.Before[$name] }
        }
        Set-LedgerValues -Sid $Sid -Old $before -New $after
    }
    $answer = New-FirewallResult -Wanted $Wanted -Plan $plan -Found $read.Found -Failed $failed
    if ($answer['state'] -ceq 'done') {
        $answer['detail'] = $read.Override
        if ($null -eq $read.Override) { $answer['detail'] = Format-Strangers -Names $read.Strangers -Sid $Sid }
    } elseif (-not $Write) {
        $answer['detail'] += '; run "wslmesh host install"'
    }
    $answer['blocks'] = @(Find-Blocks -Wanted $Wanted -Blocks $read.Blocks) + @($read.Shut)
    $answer['profiles'] = @(ConvertTo-ProfileNames -Bits $read.Current)
    $answer['covered'] = ($read.Current -band $Profiles) -eq ($read.Current -band 7)
    $answer
}

# Guest: 'mirrored' or 'hyperv', as what the guest's rules are made; '' for as they are, and those of Hyper-V are left
# alone. Policy: $null where there is none, or where it goes.
function Sync-Firewall {
    param($Policy, [object[]] $Forwards, [hashtable] $Owned, [string] $Sid, [string] $Guest, [bool] $Write)
    try {
        $script:Step = 'read the ledger of the firewall'
        $kind = $Guest
        if ($Guest -ceq '') { $kind = @{ $true = 'hyperv'; $false = 'mirrored' }[@((Read-FirewallLedger -Sid $Sid).Values) -ccontains 'hyper-v'] }
        $profiles = 3
        if ($null -ne $Policy) { $profiles = $Policy.Profiles }
        $wanted = Get-WantedFirewall -Policy $Policy -Forwards $Forwards -Owned $Owned -Sid $Sid -Guest $kind
        $answer = Update-Firewall -Wanted $wanted -Sid $Sid -Profiles $profiles -HyperV ($Guest -cne '') -Write $Write
        if (($null -ne $Policy) -and ($Policy.Mode -ceq 'mirrored')) { $answer['guest'] = @{ 'hyperv' = 'hyper-v'; 'mirrored' = 'windows' }[$kind] }
        $answer
    } catch {
        New-FirewallAnswer -State 'failed' -Detail (Format-Failure -Step $script:Step -Failure $_)
    }
}

# The firewall of Windows, by its COM objects: fast, never localised, without WMI. Rules
# that group policy makes are not among them.

# Fields that are not set come as $null.
function Read-WinFirewallRule {
    param($Rule)
    @{
        Name = [string] $Rule.Name; Enabled = [bool] $Rule.Enabled; Inbound = ([int] $Rule.Direction) -eq 1
        Allow = ([int] $Rule.Action) -eq 1; Protocol = [int] $Rule.Protocol
        LocalPorts = [string] $Rule.LocalPorts; RemotePorts = [string] $Rule.RemotePorts
        LocalAddresses = [string] $Rule.LocalAddresses; Remote = [string] $Rule.RemoteAddresses
        Program = [Environment]::ExpandEnvironmentVariables([string] $Rule.ApplicationName)
        Service = [string] $Rule.ServiceName; Profiles = [int] $Rule.Profiles
    }
}

# Rules with one of the names, names of other rules of our group, enabled rules for what comes in that block or allow,
# and the state of the profiles that Windows' networks have now. The list is hundreds of rules long: it is read when
# something is asked of it. Open: a firewall that is off in these profiles, or lets in what no rule is about.
function Get-WinFirewall {
    param([hashtable] $Names, [bool] $Blocking, [bool] $Allowing)
    $found = @{}
    $blocks = @()
    $allows = @()
    $strangers = @()
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    $rules = @()
    if ($Blocking -or ($Names.Count -gt 0)) { $rules = $policy.Rules }
    foreach ($rule in $rules) {
        if ($Names.ContainsKey([string] $rule.Name)) {
            $found[[string] $rule.Name] += @(Read-WinFirewallRule -Rule $rule)
        } elseif ($Allowing -and (([int] $rule.Action) -eq 1) -and (([int] $rule.Direction) -eq 1) -and [bool] $rule.Enabled) {
            $allows += Read-WinFirewallRule -Rule $rule
        } elseif (([string] $rule.Grouping) -ceq 'wslmesh') {
            $strangers += [string] $rule.Name
        } elseif ((([int] $rule.Action) -eq 0) -and (([int] $rule.Direction) -eq 1) -and [bool] $rule.Enabled) {
            $blocks += Read-WinFirewallRule -Rule $rule
        }
    }
    $current = [int] $policy.CurrentProfileTypes
    $override = @{
        1 = 'group policy rules the firewall of this machine: its own rules may have no effect'
        2 = 'Windows keeps everything out that comes in, whatever the rules say'
    }[[int] $policy.LocalPolicyModifyState]
    # Profiles that keep out even what a rule allows.
    $shut = @(foreach ($bit in @(1, 2, 4)) {
        if ((($current -band $bit) -ne 0) -and [bool] $policy.BlockAllInboundTraffic($bit)) {
            'all that comes in is blocked in the profile ' + (ConvertTo-ProfileNames -Bits $bit)
        }
    })
    $open = $Allowing -and (@(@(1, 2, 4) | Where-Object {
        (($current -band $_) -ne 0) -and [bool] $policy.FirewallEnabled($_) -and (([int] $policy.DefaultInboundAction($_)) -eq 0)
    }).Count -eq 0)
    @{ Found = $found; Blocks = $blocks; Allows = $allows; Open = $open; Current = $current; Override = $override; Shut = $shut; Strangers = $strangers }
}

# The protocol comes before the port: the port's form depends on it.
function Add-WinFirewallRule {
    param([hashtable] $Rule)
    $new = New-Object -ComObject 'HNetCfg.FWRule'
    $new.Name = $Rule.Name
    $new.Description = 'A forward into WSL. Made and removed by wslmesh.'
    $new.Grouping = 'wslmesh'
    if ($Rule.Program -cne '') { $new.ApplicationName = $Rule.Program }
    if ($Rule.Service -cne '') { $new.ServiceName = $Rule.Service }
    $new.Protocol = $Rule.Protocol
    if ($Rule.Ports -cne '') { $new.LocalPorts = $Rule.Ports }
    $new.LocalAddresses = $Rule.Local
    $new.RemoteAddresses = $Rule.Remote
    $new.Direction = 1
    $new.Action = [int] $Rule.Allow
    $new.Profiles = $Rule.Profiles
    $new.Enabled = $true
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    [void] $policy.Rules.Add($new)
}

# Each call takes away one rule of this name.
function Remove-WinFirewallRule {
    param([string] $Name, [int] $Count)
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    for ($turn = 0; $turn -lt $Count; $turn += 1) { [void] $policy.Rules.Remove($Name) }
}

# The firewall of guests. Windows has no other way to it than cmdlets, which ask WMI. They write 'Any' and names where
# the other firewall has '*' and numbers; some versions of them give the numbers of their enumerations (NetSecurity:
# Enabled 1, Inbound 1, Allow 2; profiles are the firewall's own bits), and not every Windows has every property.
function Read-WinGuestRule {
    param($Rule)
    $text = @{}
    $many = @('LocalAddresses', 'RemoteAddresses', 'RemotePorts', 'LocalPorts')
    foreach ($name in @('Name', 'Enabled', 'Direction', 'Action', 'Protocol', 'Profiles') + $many) {
        $property = $Rule.PSObject.Properties[$name]
        $text[$name] = ''
        if ($null -ne $property) { $text[$name] = @($property.Value) -join ',' }
        if (($many -ccontains $name) -and (@('', 'Any') -contains $text[$name])) { $text[$name] = '*' }
    }
    # One that does not tell its profiles holds in all of them.
    $profiles = 0
    if (@('', 'Any', '0') -contains $text['Profiles']) { $profiles = 7 }
    foreach ($part in $text['Profiles'].Split(',')) {
        if ($part -cmatch '\A[1-7]\z') { $profiles = $profiles -bor [int] $part }
        $profiles = $profiles -bor [int] $ProfileBits[$part.Trim()]
    }
    @{
        Name = $text['Name']; Enabled = @('True', '1') -contains $text['Enabled']; Inbound = @('Inbound', '1') -contains $text['Direction']
        Allow = @('Allow', '2') -contains $text['Action']
        Protocol = [int] @{ 'TCP' = 6; '6' = 6; 'UDP' = 17; '17' = 17 }[$text['Protocol']]
        LocalPorts = $text['LocalPorts']; RemotePorts = $text['RemotePorts']
        LocalAddresses = $text['LocalAddresses']; Remote = $text['RemoteAddresses']; Program = ''; Service = ''
        Profiles = $profiles
    }
}

# A command of that firewall, whose module is asked for by its path; 30 s for all of a run.
function Invoke-WinGuestCommand {
    param([string] $Name, [hashtable] $Parameters)
    if ($null -eq $script:GuestClock) { $script:GuestClock = New-WinClock }
    $left = 30 - [int] ($script:GuestClock.ElapsedMilliseconds / 1000)
    $found = Invoke-WinCommand -Name $Name -Parameters $Parameters -Seconds ([Math]::Max(1, $left)) -Module 'NetSecurity'
    if (($null -ne $found.Problem) -and (-not $found.Absent)) { throw ('the firewall of guests: ' + $found.Problem) }
    $found.Items
}

# Each is asked for by its name. A failure to read must be one: taken for an absent rule, the
# ledger would forget rules that exist.
function Get-WinGuestRules {
    param([hashtable] $Names)
    $found = @{}
    foreach ($name in $Names.Keys) {
        foreach ($rule in @(Invoke-WinGuestCommand -Name 'Get-NetFirewallHyperVRule' -Parameters @{ Name = $name })) {
            $found[$name] += @(Read-WinGuestRule -Rule $rule)
        }
    }
    $found
}

# In mirrored mode a guest has the addresses of Windows. That firewall knows no LocalSubnet: the subnets of now are
# written out.
function Add-WinGuestRule {
    param([hashtable] $Rule)
    [void] (Invoke-WinGuestCommand -Name 'New-NetFirewallHyperVRule' -Parameters @{
        Name = $Rule.Name; DisplayName = $Rule.Name; Direction = 'Inbound'; VMCreatorId = $GuestCreator; Action = 'Allow'; Enabled = 'True'
        Protocol = @{ 6 = 'TCP'; 17 = 'UDP' }[$Rule.Protocol]; LocalPorts = $Rule.Ports
        LocalAddresses = @($Rule.Local.Replace('*', 'Any').Split(',')); RemoteAddresses = @($Rule.Remote.Replace('*', 'Any').Split(','))
        Profiles = @(ConvertTo-ProfileNames -Bits $Rule.Profiles) -join ', '
    })
}

function Remove-WinGuestRule {
    param([string] $Name)
    [void] (Invoke-WinGuestCommand -Name 'Remove-NetFirewallHyperVRule' -Parameters @{ Name = $Name })
}

# WSL's part of that firewall: its settings as Items, or why they are not known.
function Get-WinGuestSetting {
    param([int] $Seconds)
    Invoke-WinCommand -Name 'Get-NetFirewallHyperVVMSetting' -Parameters @{ PolicyStore = 'ActiveStore'; Name = $GuestCreator } -Seconds $Seconds -Module 'NetSecurity'
}

# Whether Windows' own rules hold for guests. Names, or the numbers of GpoBoolean: 0 is False, and 2 the default, which
# is to merge; so is what is not known.
function Test-Merge {
    param([object[]] $Settings)
    foreach ($setting in $Settings) {
        $property = $setting.PSObject.Properties['AllowHostPolicyMerge']
        if (($null -ne $property) -and (@('False', '0') -contains [string] $property.Value)) { return $false }
    }
    $true
}

# As what a setup makes the rules for the guest.
function Find-GuestKind {
    param([hashtable] $Policy)
    if (($Policy.Mode -cne 'mirrored') -or (-not (Test-WinGuestFirewall)) -or (Test-Merge -Settings @((Get-WinGuestSetting -Seconds 10).Items))) { return 'mirrored' }
    'hyperv'
}
