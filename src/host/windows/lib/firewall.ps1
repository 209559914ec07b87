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

# Rules of others that defeat ours: a Block rule beats every Allow rule.
#
# Whether a list of ports as the firewall writes it ('80,443,5000-5010', '*') holds
# this one. Words in it, such as RPC, stand for ports that are never forwarded.
function Test-PortList {
    param([string] $List, [int] $Port)
    if (($List -ceq '') -or ($List -ceq '*')) {
        return $true
    }
    foreach ($part in $List.Split(',')) {
        if (($part -cmatch '\A\s*(?<first>[0-9]{1,5})(?:-(?<last>[0-9]{1,5}))?\s*\z')) {
            $first = [int] $Matches['first']
            $last = $first
            if ($Matches.ContainsKey('last')) {
                $last = [int] $Matches['last']
            }
            if (($Port -ge $first) -and ($Port -le $last)) {
                return $true
            }
        }
    }
    $false
}

# A Block rule for single machines is somebody's decision about those, and does not
# defeat the forward. A rule for another program or service is about other listeners.
# The guest is no program of Windows: only rules without one reach it.
function Test-Block {
    param([hashtable] $Rule, [hashtable] $Block)
    (($Block.Protocol -eq 256) -or ($Block.Protocol -eq $Rule.Protocol)) -and
        (($Block.Program -ceq '') -or ($Block.Program -eq $Rule.Program)) -and
        (($Block.Service -ceq '') -or ($Block.Service -eq $Rule.Service) -or (($Block.Service -ceq '*') -and ($Rule.Service -cne ''))) -and
        (($Block.Profiles -band $Rule.Profiles) -ne 0) -and
        (($Block.LocalAddresses -ceq '*') -or (Test-Local -Wanted $Rule.Local -Found $Block.LocalAddresses)) -and
        (($Block.Remote -ceq '*') -or (Test-Remote -Wanted 'LocalSubnet' -Found $Block.Remote)) -and
        (Test-PortList -List $Block.LocalPorts -Port $Rule.Port)
}

# Lines for a person, at most 20.
function Find-Blocks {
    param([System.Collections.IDictionary] $Wanted, [object[]] $Blocks)
    $lines = New-Object System.Collections.ArrayList
    foreach ($name in $Wanted.Keys) {
        foreach ($block in $Blocks) {
            if (($lines.Count -lt 20) -and (Test-Block -Rule $Wanted[$name] -Block $block)) {
                $line = '{0} (port {1})' -f $block.Name, $Wanted[$name].Port
                if (-not $lines.Contains($line)) {
                    [void] $lines.Add($line)
                }
            }
        }
    }
    $lines
}

# Names of profiles in a bit mask.
function ConvertTo-ProfileNames {
    param([int] $Bits)
    $names = [ordered] @{ 'domain' = 1; 'private' = 2; 'public' = 4 }
    foreach ($name in $names.Keys) {
        if (($Bits -band $names[$name]) -ne 0) {
            $name
        }
    }
}

# The firewall's part of a sync. Its failure is told and undoes nothing.
function New-FirewallAnswer {
    param([string] $State, $Detail)
    [ordered] @{
        'state' = $State
        'detail' = $Detail
        'added' = 0
        'removed' = 0
        'kept' = 0
        'blocks' = @()
        'profiles' = @()
        'covered' = $true
    }
}

# Names that belong to one of the two firewalls, as keys.
function Select-Names {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Ledger, [string] $Store)
    $names = @{}
    foreach ($name in $Wanted.Keys) {
        if ($Wanted[$name].Store -ceq $Store) {
            $names[$name] = $true
        }
    }
    foreach ($name in $Ledger.Keys) {
        if ($Ledger[$name] -ceq $Store) {
            $names[$name] = $true
        }
    }
    $names
}

# Rules of both firewalls that have one of the names. The cmdlets of the guest's
# firewall ask WMI: they are left alone where nothing is about them.
function Read-Firewall {
    param([hashtable] $Windows, [hashtable] $HyperV, [bool] $Blocking)
    $read = Get-WindowsFirewall -Names $Windows -Blocking $Blocking
    if ($HyperV.Count -gt 0) {
        $other = Get-HyperVFirewall -Names $HyperV
        foreach ($name in $other.Keys) {
            $read.Found[$name] = $other[$name]
        }
    }
    $read
}

# Makes one change after the other; what fails is told at the end, and the others are
# made. A rule that is replaced is taken away first: names need not be unique.
function Invoke-FirewallPlan {
    param([hashtable] $Plan, [System.Collections.IDictionary] $Wanted, [hashtable] $Found)
    $problems = New-Object System.Collections.ArrayList
    foreach ($name in @($Plan.Removed) + @($Plan.Replaced)) {
        try {
            Remove-OwnedRule -Store $Plan.Before[$name] -Name $name -Count $Found[$name].Count
        } catch {
            [void] $problems.Add(('{0}: {1}' -f $name, $_.Exception.Message))
        }
    }
    foreach ($name in @($Plan.Replaced) + @($Plan.Added)) {
        try {
            Add-OwnedRule -Rule $Wanted[$name]
        } catch {
            [void] $problems.Add(('{0}: {1}' -f $name, $_.Exception.Message))
        }
    }
    $problems
}

function Remove-OwnedRule {
    param([string] $Store, [string] $Name, [int] $Count)
    if ($Store -ceq 'hyper-v') {
        Remove-HyperVRule -Name $Name
    } else {
        Remove-WindowsRule -Name $Name -Count $Count
    }
}

function Add-OwnedRule {
    param([hashtable] $Rule)
    if ($Rule.Store -ceq 'hyper-v') {
        Add-HyperVRule -Rule $Rule
    } else {
        Add-WindowsRule -Rule $Rule
    }
}

# Judged by the rules as read back.
function New-FirewallResult {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Found, [object[]] $Problems)
    $answer = New-FirewallAnswer -State 'done' -Detail $null
    $differences = New-Object System.Collections.ArrayList
    foreach ($name in @($Plan.Kept) + @($Plan.Replaced) + @($Plan.Added)) {
        if ($Found.ContainsKey($name) -and ($Found[$name].Count -eq 1) -and (Test-FirewallRule -Wanted $Wanted[$name] -Found $Found[$name][0])) {
            if ($Plan.Kept.Contains($name)) {
                $answer['kept'] += 1
            } else {
                $answer['added'] += 1
            }
        } else {
            [void] $differences.Add(($name + ' does not stand as asked for'))
        }
    }
    foreach ($name in $Plan.Removed) {
        if ($Found.ContainsKey($name)) {
            [void] $differences.Add(($name + ' still stands'))
        } else {
            $answer['removed'] += 1
        }
    }
    foreach ($name in $Plan.Foreign) {
        [void] $differences.Add(($name + ' exists and is not in our ledger: remove it by hand'))
    }
    $texts = @($Problems) + @($differences)
    if ($texts.Count -gt 0) {
        $answer['state'] = 'failed'
        $answer['detail'] = 'not as asked for: {0}; the first: {1}' -f $texts.Count, $texts[0]
    }
    $answer
}

# Rules of the guest's firewall where Windows has none: nothing can be done about
# them, and what the ledger says of them stays.
function Remove-HyperV {
    param([System.Collections.IDictionary] $Rules)
    $left = [ordered] @{}
    foreach ($name in $Rules.Keys) {
        if ($Rules[$name].Store -cne 'hyper-v') {
            $left[$name] = $Rules[$name]
        }
    }
    $left
}

# What a rule that is missing is missing for, or $null.
function Get-Unavailable {
    param([object[]] $Forwards, [hashtable] $Programs, [bool] $NoHyperV)
    if ($NoHyperV) {
        return 'this Windows has no firewall for guests (Hyper-V firewall, Windows 11 22H2 and later)'
    }
    if ($null -eq $Programs.Relay) {
        foreach ($forward in $Forwards) {
            if (($forward.ServedBy -ceq 'relay') -and ($forward.Firewall -cne 'none')) {
                return 'the relay is not installed on Windows: no rule lets anybody reach it'
            }
        }
    }
    $null
}

function Update-Firewall {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid, [int] $Profiles)
    $script:Step = 'read the ledger of the firewall'
    $ledger = Select-FirewallLedger -Values (Get-LedgerValues -Sid $Sid)
    $windows = Select-Names -Wanted $Wanted -Ledger $ledger -Store 'windows'
    $hyperV = Select-Names -Wanted $Wanted -Ledger $ledger -Store 'hyper-v'
    $script:Step = 'look for the guest''s firewall'
    $missing = ($hyperV.Count -gt 0) -and (-not (Test-HyperVFirewall))
    $possible = $Wanted
    if ($missing) {
        $possible = Remove-HyperV -Rules $Wanted
        foreach ($name in $hyperV.Keys) {
            $ledger.Remove($name)
        }
        $hyperV = @{}
    }
    $script:Step = 'read the firewall'
    $read = Read-Firewall -Windows $windows -HyperV $hyperV -Blocking ($possible.Count -gt 0)
    $plan = New-FirewallPlan -Wanted $possible -Found $read.Found -Ledger $ledger
    $script:Step = 'write the ledger before the firewall'
    Set-LedgerValues -Sid $Sid -Old (ConvertTo-LedgerValues -Ledger $ledger) -New (ConvertTo-LedgerValues -Ledger $plan.Before)
    $problems = @()
    if ($plan.Changes -gt 0) {
        $script:Step = 'change the firewall'
        $problems = @(Invoke-FirewallPlan -Plan $plan -Wanted $possible -Found $read.Found)
        $script:Step = 'read the firewall back'
        $read = Read-Firewall -Windows $windows -HyperV $hyperV -Blocking ($possible.Count -gt 0)
    }
    $script:Step = 'write the ledger after the firewall'
    $after = Get-FirewallLedgerAfter -Before $plan.Before -Found $read.Found
    Set-LedgerValues -Sid $Sid -Old (ConvertTo-LedgerValues -Ledger $plan.Before) -New (ConvertTo-LedgerValues -Ledger $after)
    $answer = New-FirewallResult -Wanted $possible -Plan $plan -Found $read.Found -Problems $problems
    if (($answer['state'] -ceq 'done') -and ($null -ne $read.Override)) {
        $answer['detail'] = $read.Override
    }
    $answer['blocks'] = @(Find-Blocks -Wanted $possible -Blocks $read.Blocks) + @($read.Shut)
    $answer['profiles'] = @(ConvertTo-ProfileNames -Bits $read.Current)
    $answer['covered'] = ($read.Current -band $Profiles) -eq ($read.Current -band 7)
    @{ Answer = $answer; NoHyperV = $missing }
}

function Sync-Firewall {
    param([object[]] $Forwards, [hashtable] $Owned, [string] $Sid, [int] $Profiles)
    try {
        $script:Step = 'find the programs'
        $programs = Get-Programs
        $wanted = Get-WantedFirewall -Forwards $Forwards -Owned $Owned -Sid $Sid -Profiles $Profiles -Programs $programs
        $result = Update-Firewall -Wanted $wanted -Sid $Sid -Profiles $Profiles
        $answer = $result.Answer
        $reason = Get-Unavailable -Forwards $Forwards -Programs $programs -NoHyperV $result.NoHyperV
        if (($answer['state'] -ceq 'done') -and ($null -ne $reason)) {
            $answer['state'] = 'unavailable'
            $answer['detail'] = $reason
        }
        $answer
    } catch {
        New-FirewallAnswer -State 'failed' -Detail ('{0}: {1}' -f $script:Step, $_.Exception.Message)
    }
}

# The firewall of Windows, by its COM objects: fast, never localised, without WMI.
# Rules that group policy makes are not among them.
#
# What a forward can be served by on Windows. The relay counts only below Program
# Files, where the user cannot replace it.
function Get-Programs {
    @{
        ServiceHost = [System.IO.Path]::Combine([Environment]::SystemDirectory, 'svchost.exe')
        Relay = Get-InstalledRelay
    }
}

# Fields that are not set come as $null.
function Read-WindowsRule {
    param($Rule)
    @{
        Name = [string] $Rule.Name
        Enabled = [bool] $Rule.Enabled
        Inbound = ([int] $Rule.Direction) -eq 1
        Allow = ([int] $Rule.Action) -eq 1
        Protocol = [int] $Rule.Protocol
        LocalPorts = [string] $Rule.LocalPorts
        RemotePorts = [string] $Rule.RemotePorts
        LocalAddresses = [string] $Rule.LocalAddresses
        Remote = [string] $Rule.RemoteAddresses
        Program = [Environment]::ExpandEnvironmentVariables([string] $Rule.ApplicationName)
        Service = [string] $Rule.ServiceName
        Profiles = [int] $Rule.Profiles
    }
}

# Rules with one of the names, enabled Block rules for what comes in, and the state of
# the profiles that Windows' networks have now. The list is hundreds of rules long: it
# is read when something is asked of it.
function Get-WindowsFirewall {
    param([hashtable] $Names, [bool] $Blocking)
    $found = @{}
    $blocks = New-Object System.Collections.ArrayList
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    $rules = @()
    if ($Blocking -or ($Names.Count -gt 0)) {
        $rules = $policy.Rules
    }
    foreach ($rule in $rules) {
        $name = [string] $rule.Name
        if ($Names.ContainsKey($name)) {
            if (-not $found.ContainsKey($name)) {
                $found[$name] = New-Object System.Collections.ArrayList
            }
            [void] $found[$name].Add((Read-WindowsRule -Rule $rule))
        } elseif ((([int] $rule.Action) -eq 0) -and (([int] $rule.Direction) -eq 1) -and [bool] $rule.Enabled) {
            [void] $blocks.Add((Read-WindowsRule -Rule $rule))
        }
    }
    $current = [int] $policy.CurrentProfileTypes
    $override = $null
    switch ([int] $policy.LocalPolicyModifyState) {
        1 { $override = 'group policy rules the firewall of this machine: its own rules may have no effect' }
        2 { $override = 'Windows keeps everything out that comes in, whatever the rules say' }
    }
    @{
        Found = $found
        Blocks = $blocks.ToArray()
        Current = $current
        Override = $override
        Shut = @(Get-ShutProfiles -Policy $policy -Current $current)
    }
}

# Profiles that keep out even what a rule allows.
function Get-ShutProfiles {
    param($Policy, [int] $Current)
    foreach ($bit in @(1, 2, 4)) {
        if ((($Current -band $bit) -ne 0) -and [bool] $Policy.BlockAllInboundTraffic($bit)) {
            'all that comes in is blocked in the profile ' + (ConvertTo-ProfileNames -Bits $bit)
        }
    }
}

# The protocol comes before the port: the port's form depends on it.
function Add-WindowsRule {
    param([hashtable] $Rule)
    $new = New-Object -ComObject 'HNetCfg.FWRule'
    $new.Name = $Rule.Name
    $new.Description = 'A forward into WSL. Made and removed by wslmesh.'
    $new.Grouping = 'wslmesh'
    $new.ApplicationName = $Rule.Program
    if ($Rule.Service -cne '') {
        $new.ServiceName = $Rule.Service
    }
    $new.Protocol = $Rule.Protocol
    $new.LocalPorts = [string] $Rule.Port
    $new.LocalAddresses = $Rule.Local
    $new.RemoteAddresses = $Rule.Remote
    $new.Direction = 1
    $new.Action = 1
    $new.Profiles = $Rule.Profiles
    $new.Enabled = $true
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    [void] $policy.Rules.Add($new)
}

# Each call takes away one rule of this name.
function Remove-WindowsRule {
    param([string] $Name, [int] $Count)
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    for ($turn = 0; $turn -lt $Count; $turn += 1) {
        [void] $policy.Rules.Remove($Name)
    }
}

# The firewall of guests. Windows has no other way to it than cmdlets, which ask WMI.
function Test-HyperVFirewall {
    $null -ne (Get-Command -Name 'New-NetFirewallHyperVRule' -ErrorAction 'SilentlyContinue')
}

# Text of a property that not every Windows has; a list becomes one text.
function Read-Property {
    param($Object, [string] $Name)
    $property = $Object.PSObject.Properties[$Name]
    if (($null -eq $property) -or ($null -eq $property.Value)) {
        return ''
    }
    @($property.Value) -join ','
}

# The cmdlets write 'Any' and names where the other firewall has '*' and numbers.
function Read-HyperVRule {
    param($Rule)
    $any = @{}
    foreach ($name in @('LocalAddresses', 'RemoteAddresses', 'RemotePorts', 'LocalPorts')) {
        $text = Read-Property -Object $Rule -Name $name
        $any[$name] = $text
        if (($text -eq '') -or ($text -eq 'Any')) {
            $any[$name] = '*'
        }
    }
    $protocols = @{ 'TCP' = 6; '6' = 6; 'UDP' = 17; '17' = 17 }
    $protocol = 0
    $text = Read-Property -Object $Rule -Name 'Protocol'
    if ($protocols.ContainsKey($text)) {
        $protocol = $protocols[$text]
    }
    # One that does not tell its profiles holds in all of them.
    $profiles = 0
    $text = Read-Property -Object $Rule -Name 'Profiles'
    if (($text -eq '') -or ($text -eq 'Any') -or ($text -eq '0')) {
        $profiles = 7
    }
    $bits = @{ 'Domain' = 1; 'Private' = 2; 'Public' = 4 }
    foreach ($part in $text.Split(',')) {
        if ($bits.ContainsKey($part.Trim())) {
            $profiles = $profiles -bor $bits[$part.Trim()]
        }
    }
    @{
        Name = Read-Property -Object $Rule -Name 'Name'
        Enabled = (Read-Property -Object $Rule -Name 'Enabled') -eq 'True'
        Inbound = (Read-Property -Object $Rule -Name 'Direction') -eq 'Inbound'
        Allow = (Read-Property -Object $Rule -Name 'Action') -eq 'Allow'
        Protocol = $protocol
        LocalPorts = $any['LocalPorts']
        RemotePorts = $any['RemotePorts']
        LocalAddresses = $any['LocalAddresses']
        Remote = $any['RemoteAddresses']
        Program = ''
        Service = ''
        Profiles = $profiles
    }
}

# Rules with one of the names. A failure to read must be one: taken for an empty
# list, the ledger would forget rules that stand.
function Get-HyperVFirewall {
    param([hashtable] $Names)
    $found = @{}
    foreach ($rule in Get-NetFirewallHyperVRule) {
        $name = Read-Property -Object $rule -Name 'Name'
        if (-not $Names.ContainsKey($name)) {
            continue
        }
        if (-not $found.ContainsKey($name)) {
            $found[$name] = New-Object System.Collections.ArrayList
        }
        [void] $found[$name].Add((Read-HyperVRule -Rule $rule))
    }
    $found
}

# In mirrored mode a guest has the addresses of Windows.
function Add-HyperVRule {
    param([hashtable] $Rule)
    $protocol = 'TCP'
    if ($Rule.Protocol -eq 17) {
        $protocol = 'UDP'
    }
    $remote = 'LocalSubnet'
    if ($Rule.Remote -ceq '*') {
        $remote = 'Any'
    }
    $local = @('Any')
    if ($Rule.Local -cne '*') {
        $local = @($Rule.Local.Split(','))
    }
    $profiles = @(ConvertTo-ProfileNames -Bits $Rule.Profiles) -join ', '
    New-NetFirewallHyperVRule -Name $Rule.Name -DisplayName $Rule.Name -Direction 'Inbound' -VMCreatorId '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}' -Protocol $protocol -LocalAddresses $local -LocalPorts ([string] $Rule.Port) -RemoteAddresses $remote -Profiles $profiles -Action 'Allow' -Enabled 'True' | Out-Null
}

function Remove-HyperVRule {
    param([string] $Name)
    Remove-NetFirewallHyperVRule -Name $Name | Out-Null
}
