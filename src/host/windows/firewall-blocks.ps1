# Rules of others that defeat ours: a Block rule beats every Allow rule.

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
