# forward.ps1: both firewalls.

function Invoke-Forward {
    param([string] $Entries, [int] $Mode)
    $text = Get-SelectionSample -Entries $Entries
    $script:World.Selection = $text.Replace('"mode":1', '"mode":' + $Mode)
    (ConvertFrom-Json -InputObject (Get-TaskText -Sid $script:World.Sid)).'firewall'
}

Test-Case -Name 'one rule for each forward of the port proxy, and those of the policy' -Body {
    $firewall = Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1
    Assert-Equal -Expected 'done 2' -Found ('{0} {1}' -f $firewall.'state', $firewall.'added')
    $rule = Find-WorldRules -Like '*portproxy'
    Assert-Equal -Expected 'wslmesh-S-1-5-21-1-2-3-1001-tcp-2222-portproxy' -Found $rule.Name
    Assert-Equal -Expected '6 2222 LocalSubnet iphlpsvc 3' -Found ('{0} {1} {2} {3} {4}' -f $rule.Protocol, $rule.LocalPorts, $rule.Remote, $rule.Service, $rule.Profiles)
    Assert-Equal -Expected 'C:\Windows\System32\svchost.exe' -Found $rule.Program
    Assert-Equal -Expected 'windows' -Found $script:World.Ledger['firewall/' + $rule.Name]
    $rule = Find-WorldRules -Like '*udp*'
    Assert-Equal -Expected 'wslmesh-S-1-5-21-1-2-3-1001-udp-51820-relay' -Found $rule.Name
    Assert-Equal -Expected '17 51820 * ' -Found ('{0} {1} {2} {3}' -f $rule.Protocol, $rule.LocalPorts, $rule.Remote, $rule.Service)
    Assert-Equal -Expected $script:World.Relay -Found $rule.Program
    # Windows is not to ask about the relay, in networks of any kind.
    $rule = Find-WorldRules -Like 'wslmesh-machine-block'
    Assert-Equal -Expected ('False 256 4 ' + $script:World.Relay) -Found ('{0} {1} {2} {3}' -f $rule.Allow, $rule.Protocol, $rule.Profiles, $rule.Program)
    $rule = Find-WorldRules -Like 'wslmesh-machine-loopback'
    Assert-Equal -Expected ('True 127.0.0.1 3 ' + $script:World.Relay) -Found ('{0} {1} {2} {3}' -f $rule.Allow, $rule.LocalAddresses, $rule.Profiles, $rule.Program)
}

Test-Case -Name 'what no user agreed to is shut, for all users of the machine' -Body {
    $other = 'S-1-5-21-1-2-3-1002'
    $script:World.Others = @{ $other = (Get-PolicySample).Replace('"private"', '"public"') }
    [void] (Invoke-Forward -Entries '' -Mode 1)
    Assert-Equal -Expected 0 -Found @(Find-WorldRules -Like 'wslmesh-machine-block').Count
    Assert-Equal -Expected 7 -Found (Find-WorldRules -Like 'wslmesh-machine-loopback').Profiles
    $script:World.Others = @{ $other = 'damaged' }
    [void] (Invoke-Forward -Entries '' -Mode 1)
    Assert-Equal -Expected 4 -Found (Find-WorldRules -Like 'wslmesh-machine-block').Profiles
    Assert-Equal -Expected 0 -Found @($script:World.Ledger.Keys -clike '*machine*').Count
}

Test-Case -Name 'the same again changes nothing' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
    $before = Get-WorldText
    $script:World.Unmakeable = @($script:World.Rules | ForEach-Object { $_.Name })
    $firewall = Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1
    Assert-Equal -Expected 'done 0 2' -Found ('{0} {1} {2}' -f $firewall.'state', $firewall.'added', $firewall.'kept')
    Assert-Equal -Expected $before -Found (Get-WorldText)
}

Test-Case -Name 'a rule of ours that was changed is replaced' -Body {
    $changes = @{ Enabled = $false; Allow = $false; Inbound = $false; Protocol = 17; LocalPorts = '2222,23'; RemotePorts = '1'; LocalAddresses = '10.0.0.1'; Remote = '*'; Program = 'C:\x.exe'; Service = ''; Profiles = 7 }
    foreach ($field in @($changes.Keys)) {
        Reset-World
        [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
        $before = Get-WorldText
        $rule = Find-WorldRules -Like '*portproxy'
        $rule[$field] = $changes[$field]
        $firewall = Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1
        Assert-Equal -Expected 'done 1' -Found ('{0} {1}' -f $firewall.'state', $firewall.'added')
        Assert-Equal -Expected $before -Found (Get-WorldText)
    }
}

Test-Case -Name 'what Windows writes in another way is no change' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
    $rule = Find-WorldRules -Like '*portproxy'
    $rule.Remote = 'localsubnet4,LocalSubnet6'
    $rule.Program = 'c:\windows\system32\SVCHOST.EXE'
    Assert-Equal -Expected 2 -Found (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1).'kept'
}

Test-Case -Name 'a rule is for the address that was agreed to' -Body {
    $script:World.Policy = (Get-PolicySample).Replace('"0.0.0.0","listen-ports":[2000', '"192.168.50.10","listen-ports":[2000')
    [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
    $rule = Find-WorldRules -Like '*portproxy'
    Assert-Equal -Expected '192.168.50.10' -Found $rule.LocalAddresses
    $rule.LocalAddresses = '192.168.50.10/255.255.255.255'
    Assert-Equal -Expected 2 -Found (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1).'kept'
    $rule.LocalAddresses = '*'
    Assert-Equal -Expected 1 -Found (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1).'added'
}

Test-Case -Name 'one rule for two addresses of one port' -Body {
    $policy = (Get-PolicySample).Replace('"0.0.0.0","listen-ports":[2000,2999],"connect-ports":[1,1023],"firewall":"local","backend":"portproxy"}', '"192.168.50.10","listen-ports":[2000,2999],"connect-ports":[1,99],"firewall":"full","backend":"portproxy"},{"protocol":"tcp","listen-address":"192.168.50.11","listen-ports":[2000,2999],"connect-ports":[100,199],"firewall":"local","backend":"portproxy"}')
    $script:World.Policy = $policy
    [void] (Invoke-Forward -Entries '[6,2222,100,1],[6,2222,22,1]' -Mode 1)
    $rules = @(Find-WorldRules -Like '*portproxy')
    Assert-Equal -Expected '1 192.168.50.10,192.168.50.11 *' -Found ('{0} {1} {2}' -f $rules.Count, $rules[0].LocalAddresses, $rules[0].Remote)
    Assert-Equal -Expected 2 -Found (Invoke-Forward -Entries '[6,2222,22,1],[6,2222,100,1]' -Mode 1).'kept'
}

Test-Case -Name 'two rules of one name become one' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
    $before = Get-WorldText
    [void] $script:World.Rules.Add($script:World.Rules[0].Clone())
    [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
    Assert-Equal -Expected $before -Found (Get-WorldText)
}

Test-Case -Name 'a rule of our name that is not in the ledger stays' -Body {
    [void] $script:World.Rules.Add((New-RuleSample -Name 'wslmesh-S-1-5-21-1-2-3-1001-tcp-2222-portproxy'))
    $before = Get-FirewallText
    $firewall = Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1
    Assert-Equal -Expected 'failed' -Found $firewall.'state'
    Assert-Equal -Expected $before -Found ('[' + (Get-TableText -Table (Find-WorldRules -Like '*portproxy')) + ']')
    [void] (Invoke-Forward -Entries '' -Mode 1)
    Assert-Equal -Expected $before -Found ('[' + (Get-TableText -Table (Find-WorldRules -Like '*portproxy')) + ']')
}

Test-Case -Name 'no rule for a port that is not ours' -Body {
    $script:World.Table = @{ '0.0.0.0/2222' = '10.0.0.1/80' }
    [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
    Assert-Equal -Expected 0 -Found @(Find-WorldRules -Like '*portproxy').Count
}

Test-Case -Name 'a rule that cannot be made leaves the others and the forwards' -Body {
    $script:World.Unmakeable = @('wslmesh-S-1-5-21-1-2-3-1001-tcp-2222-portproxy')
    $firewall = Invoke-Forward -Entries '[6,2222,22,1],[6,2223,22,1]' -Mode 1
    Assert-Equal -Expected 'failed 2' -Found ('{0} {1}' -f $firewall.'state', $firewall.'added')
    # Once, with the reason.
    Assert-Equal -Expected 'the firewall rule for TCP port 2222 is missing or different (refused)' -Found $firewall.'detail'
    Assert-Equal -Expected 'partial' -Found (ConvertFrom-Json -InputObject (Get-TaskText -Sid $script:World.Sid)).'state'
    Assert-Equal -Expected 2 -Found $script:World.Table.Count
    Assert-True -Found (-not $script:World.Ledger.ContainsKey('firewall/wslmesh-S-1-5-21-1-2-3-1001-tcp-2222-portproxy')) -What 'the ledger has only what stands'
    $script:World.Unmakeable = @()
    Assert-Equal -Expected 'done' -Found (Invoke-Forward -Entries '[6,2222,22,1],[6,2223,22,1]' -Mode 1).'state'
}

Test-Case -Name 'a crash after the ledger is repaired' -Body {
    $script:World.Ledger['firewall/wslmesh-S-1-5-21-1-2-3-1001-tcp-2222-portproxy'] = 'windows'
    $script:World.Ledger['firewall/wslmesh-S-1-5-21-1-2-3-1001-tcp-2300-portproxy'] = 'windows'
    Assert-Equal -Expected 'done 2' -Found ((Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1) | ForEach-Object { '{0} {1}' -f $_.'state', $_.'added' })
    Assert-True -Found (-not $script:World.Ledger.ContainsKey('firewall/wslmesh-S-1-5-21-1-2-3-1001-tcp-2300-portproxy')) -What 'a rule that was never made is forgotten'
}

Test-Case -Name 'mirrored: ordinary rules without a program, and no port proxy' -Body {
    [void] (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1)
    $script:World.Policy = (Get-PolicySample).Replace('"nat"', '"mirrored"')
    $firewall = Invoke-Forward -Entries '' -Mode 2
    Assert-Equal -Expected 'done 2 2 windows' -Found ('{0} {1} {2} {3}' -f $firewall.'state', $firewall.'added', $firewall.'removed', $firewall.'guest')
    Assert-Equal -Expected 0 -Found $script:World.Table.Count
    $rule = Find-WorldRules -Like '*tcp*'
    Assert-Equal -Expected 'wslmesh-S-1-5-21-1-2-3-1001-tcp-2000-2999-mirrored' -Found $rule.Name
    Assert-Equal -Expected '6 2000-2999 LocalSubnet 3 ' -Found ('{0} {1} {2} {3} {4}{5}' -f $rule.Protocol, $rule.LocalPorts, $rule.Remote, $rule.Profiles, $rule.Program, $rule.Service)
    Assert-Equal -Expected 0 -Found $script:World.HyperV.Count
}

Test-Case -Name 'mirrored: Hyper-V rules that an install made are left alone' -Body {
    $script:World.Policy = (Get-PolicySample).Replace('"nat"', '"mirrored"')
    $name = 'wslmesh-S-1-5-21-1-2-3-1001-tcp-2000-2999-hyperv'
    $script:World.Ledger['firewall/' + $name] = 'hyper-v'
    $script:World.HasHyperV = $false
    $firewall = Invoke-Forward -Entries '' -Mode 2
    Assert-Equal -Expected 'done 0 hyper-v' -Found ('{0} {1} {2}' -f $firewall.'state', $firewall.'added', $firewall.'guest')
    Assert-Equal -Expected 'hyper-v' -Found $script:World.Ledger['firewall/' + $name]
    Assert-Equal -Expected 0 -Found @(Find-WorldRules -Like '*-tcp-*').Count
}

Test-Case -Name 'Block rules that defeat ours are named' -Body {
    $samples = @(
        @{ Name = 'any program' },
        @{ Name = 'range'; LocalPorts = '80, 2000-3000' },
        @{ Name = 'any protocol'; Protocol = 256; LocalPorts = '' },
        @{ Name = 'service'; Service = 'iphlpsvc'; Program = 'C:\Windows\System32\svchost.exe' },
        @{ Name = 'subnet'; Remote = 'LocalSubnet' },
        @{ Name = 'no: port'; LocalPorts = '80,443,RPC' },
        @{ Name = 'no: protocol'; Protocol = 17 },
        @{ Name = 'no: program'; Program = 'C:\Games\game.exe' },
        @{ Name = 'no: service'; Service = 'W32Time' },
        @{ Name = 'no: profile'; Profiles = 4 },
        @{ Name = 'no: one machine'; Remote = '10.0.0.1/255.255.255.255' },
        @{ Name = 'no: disabled'; Enabled = $false },
        @{ Name = 'no: outbound'; Inbound = $false },
        @{ Name = 'no: allows'; Allow = $true }
    )
    foreach ($sample in $samples) {
        $rule = New-RuleSample -Name $sample.Name
        foreach ($field in @($sample.Keys)) {
            $rule[$field] = $sample[$field]
        }
        [void] $script:World.Rules.Add($rule)
    }
    $found = (Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1).'blocks'
    Assert-Equal -Expected 'any protocol (port 51820);any program (port 2222);range (port 2222);any protocol (port 2222);service (port 2222);subnet (port 2222)' -Found (@($found) -join ';')
}

Test-Case -Name 'at most twenty of them, whatever the number of forwards' -Body {
    $policy = (Get-PolicySample).Replace('[2000,2999]', '[2000,3999]')
    $script:World.Policy = $policy
    for ($turn = 0; $turn -lt 100; $turn += 1) {
        $rule = New-RuleSample -Name ('block ' + $turn)
        $rule.LocalPorts = '3000-3999'
        [void] $script:World.Rules.Add($rule)
    }
    $entries = @(for ($port = 2000; $port -lt 3500; $port += 1) { '[6,' + $port + ',22,1]' }) -join ','
    $found = @((Invoke-Forward -Entries $entries -Mode 1).'blocks')
    Assert-Equal -Expected '20 block 0 (port 3000)' -Found ('{0} {1}' -f $found.Count, $found[0])
}

Test-Case -Name 'a rule of our group that is not in the ledger is said' -Body {
    foreach ($name in @('my wslmesh rule', 'wslmesh-S-1-5-21-1-2-3-1002-tcp-2222-portproxy', 'wslmesh-S-1-5-21-1-2-3-1001-tcp-2900-portproxy')) {
        $rule = New-RuleSample -Name $name
        $rule.Allow = $true
        $rule['Group'] = 'wslmesh'
        [void] $script:World.Rules.Add($rule)
    }
    $firewall = Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1
    Assert-Equal -Expected 'done firewall rules of the group wslmesh that wslmesh does not know as its own (2), such as "my wslmesh rule": remove them by hand' -Found ('{0} {1}' -f $firewall.'state', $firewall.'detail')
    Assert-Equal -Expected 7 -Found $script:World.Rules.Count
}

Test-Case -Name 'a rule of guests in names and in numbers' -Body {
    $names = ConvertFrom-Json -InputObject '{"Name":"x","Enabled":"True","Direction":"Inbound","Action":"Allow","Protocol":"TCP","Profiles":"Domain, Private","LocalAddresses":"Any","RemoteAddresses":"Any","RemotePorts":"Any","LocalPorts":"22"}'
    $numbers = ConvertFrom-Json -InputObject '{"Name":"x","Enabled":1,"Direction":1,"Action":2,"Protocol":6,"Profiles":3,"LocalAddresses":["Any"],"RemoteAddresses":"Any","RemotePorts":"Any","LocalPorts":22}'
    Assert-Equal -Expected (Get-TableText -Table (Read-WinGuestRule -Rule $names)) -Found (Get-TableText -Table (Read-WinGuestRule -Rule $numbers))
    Assert-Equal -Expected 3 -Found (Read-WinGuestRule -Rule $numbers).Profiles
    $numbers.'Action' = 4
    Assert-True -Found (-not (Read-WinGuestRule -Rule $numbers).Allow) -What '4 blocks'
    $numbers.PSObject.Properties.Remove('Profiles')
    Assert-Equal -Expected 7 -Found (Read-WinGuestRule -Rule $numbers).Profiles
}

Test-Case -Name 'a dismissed alert blocks the relay' -Body {
    $rule = New-RuleSample -Name 'wslmesh-relay.exe'
    $rule.Program = $script:World.Relay.ToUpperInvariant()
    $rule.Protocol = 17
    $rule.LocalPorts = '*'
    [void] $script:World.Rules.Add($rule)
    $before = $rule.Clone()
    $found = (Invoke-Forward -Entries '' -Mode 1).'blocks'
    Assert-Equal -Expected 'wslmesh-relay.exe (port 51820)' -Found (@($found) -join ';')
    Assert-Equal -Expected (Get-TableText -Table $before) -Found (Get-TableText -Table $rule)
}

Test-Case -Name 'profiles of the networks that there are' -Body {
    $firewall = Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1
    Assert-Equal -Expected 'private True' -Found ('{0} {1}' -f (@($firewall.'profiles') -join ','), $firewall.'covered')
    $script:World.Current = 6
    $script:World.Shut = @('all that comes in is blocked in the profile public')
    $firewall = Invoke-Forward -Entries '[6,2222,22,1]' -Mode 1
    Assert-Equal -Expected 'private,public False' -Found ('{0} {1}' -f (@($firewall.'profiles') -join ','), $firewall.'covered')
    Assert-Equal -Expected 1 -Found @($firewall.'blocks').Count
}

Test-Case -Name 'lists of ports' -Body {
    foreach ($list in @('*', '', '80', '1,80', '79-81', '1-2, 80', '80-80')) {
        Assert-True -Found (Test-PortList -List $list -Ports '80') -What $list
    }
    foreach ($list in @('80', '70-81', '1-75', '85-90', '90')) {
        Assert-True -Found (Test-PortList -List $list -Ports '75-90') -What $list
    }
    foreach ($list in @('8', '800', '81-90', 'RPC', '1-79', '80-', '-80')) {
        Assert-True -Found (-not (Test-PortList -List $list -Ports '80')) -What $list
    }
}
