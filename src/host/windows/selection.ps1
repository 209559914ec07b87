# The selection: what the user's side asks of the elevated one. Its text is hostile
# until it has passed: it is matched as a whole against the one form that refresh.ps1
# writes, no parser reads it, and no word of it goes into an answer.

function Test-Sid {
    param([string] $Sid)
    $Sid -cmatch '\AS-1-(?:5-21|12-1)(?:-(?:0|[1-9][0-9]{0,9})){4}\z'
}

# The ticket at the start, or 0. Asked for first: an answer that refuses the rest must
# reach the one who waits for it.
function Find-Ticket {
    param([string] $Text)
    if (($Text -cmatch '\A\{"version":[0-9]{1,9},"ticket":(?<ticket>[1-9][0-9]{0,9}),') -and ([long] $Matches['ticket'] -le 2147483647)) {
        return [int] $Matches['ticket']
    }
    0
}

# One entry: protocol, listen port, connect port, served by.
function ConvertTo-Entry {
    param([string] $Text, [string] $Mode, [int] $Index)
    $protocols = @{ '6' = 'tcp'; '17' = 'udp' }
    $servers = @{ '1' = 'portproxy'; '2' = 'relay'; '3' = 'guest' }
    $fields = $Text.Split(',')
    $ports = @([int] $fields[1], [int] $fields[2])
    if ((-not $protocols.ContainsKey($fields[0])) -or (-not $servers.ContainsKey($fields[3])) -or
        ($ports[0] -lt 1) -or ($ports[0] -gt 65535) -or ($ports[1] -lt 1) -or ($ports[1] -gt 65535)) {
        throw (New-InvalidRequest -Message ('selection: entry {0} is out of range' -f $Index))
    }
    $entry = @{ Protocol = $protocols[$fields[0]]; ListenPort = $ports[0]; ConnectPort = $ports[1]; ServedBy = $servers[$fields[3]] }
    if (-not (Test-ServedBy -Mode $Mode -Protocol $entry.Protocol -ServedBy $entry.ServedBy)) {
        throw (New-InvalidRequest -Message ('selection: entry {0} is served by what its mode does not have' -f $Index))
    }
    $entry
}

function ConvertTo-Selection {
    param([string] $Text)
    $number = '(?:0|[1-9][0-9]{0,9})'
    $port = '(?:0|[1-9][0-9]{0,4})'
    $entry = '\[(?:' + $port + ',){3}' + $port + '\]'
    $form = '\A\{"version":(?<version>' + $number + '),"ticket":(?<ticket>' + $number + '),"mode":(?<mode>' + $number +
        '),"forwards":\[(?<forwards>(?:' + $entry + '(?:,' + $entry + ')*)?)\]\}\z'
    $parts = [regex]::Match($Text, $form)
    if (-not $parts.Success) {
        throw (New-InvalidRequest -Message 'selection: not of the agreed form')
    }
    if ($parts.Groups['version'].Value -cne '1') {
        throw (New-InvalidRequest -Message 'selection: of another version')
    }
    if ((Find-Ticket -Text $Text) -eq 0) {
        throw (New-InvalidRequest -Message 'selection: the ticket is out of range')
    }
    $modes = @{ '1' = 'nat'; '2' = 'mirrored' }
    if (-not $modes.ContainsKey($parts.Groups['mode'].Value)) {
        throw (New-InvalidRequest -Message 'selection: the mode is out of range')
    }
    $mode = $modes[$parts.Groups['mode'].Value]
    # Seven characters at least: what stands between two entries is shorter.
    $texts = @([regex]::Matches($parts.Groups['forwards'].Value, '[0-9,]{7,}'))
    if ($texts.Count -gt 2000) {
        throw (New-InvalidRequest -Message 'selection: more than 2000 entries')
    }
    $index = 0
    $entries = @(foreach ($item in $texts) {
        ConvertTo-Entry -Text $item.Value -Mode $mode -Index $index
        $index += 1
    })
    @{ Mode = $mode; Entries = $entries }
}

# The entries that the policy agrees to, as forwards: address and firewall come from
# the policy. The others are refused one by one.
function Select-Granted {
    param([hashtable] $Policy, [object[]] $Entries)
    $seen = @{}
    $forwards = New-Object System.Collections.ArrayList
    $refused = New-Object System.Collections.ArrayList
    foreach ($entry in $Entries) {
        $grant = Find-Grant -Policy $Policy -Protocol $entry.Protocol -ListenPort $entry.ListenPort -ConnectPort $entry.ConnectPort
        if ($null -eq $grant) {
            [void] $refused.Add((New-Refused -Protocol $entry.Protocol -ListenPort $entry.ListenPort -ConnectPort $entry.ConnectPort -Reason 'outside-policy'))
            continue
        }
        $forward = New-Forward -Protocol $entry.Protocol -Address $grant.Address -ListenPort $entry.ListenPort -ConnectPort $entry.ConnectPort -ServedBy $entry.ServedBy -Firewall $grant.Firewall
        $key = $forward.Protocol + '/' + $forward.Listener
        if ($seen.ContainsKey($key)) {
            throw (New-InvalidRequest -Message 'selection: two entries listen in the same place')
        }
        $seen[$key] = $true
        [void] $forwards.Add($forward)
    }
    @{ Forwards = $forwards.ToArray(); Refused = $refused.ToArray() }
}
