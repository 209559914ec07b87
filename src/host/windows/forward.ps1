#Requires -Version 5.1
# forward.ps1: makes the port proxy's forwards of one Windows user those that were selected, as far as the policy of
# this machine agrees. A task runs it as SYSTEM; its argument was fixed when the task was made. It trusts nothing
# that the user can write: the selection holds integers alone, the guest's address is found and checked here,
# and what the user may have is read from keys that only administrators can write.
#
# It has no user of its own: all that belongs to the user is reached by the SID.
param([string] $Sid)

# The selection: what the user's side asks of the elevated one. Its text is hostile
# until it has passed: it is matched as a whole against the one form that refresh.ps1
# writes, no parser reads it, and no word of it goes into an answer.
#
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
    $fields = $Text.Split(',')
    $entry = @{
        Protocol = @{ '6' = 'tcp'; '17' = 'udp' }[$fields[0]]
        ListenPort = [int] $fields[1]; ConnectPort = [int] $fields[2]
        ServedBy = @{ '1' = 'portproxy' }[$fields[3]]
    }
    $valid = ($null -ne $entry.Protocol) -and ($null -ne $entry.ServedBy) -and
        ($entry.ListenPort -ge 1) -and ($entry.ListenPort -le 65535) -and ($entry.ConnectPort -ge 1) -and ($entry.ConnectPort -le 65535)
    Assert-Valid -Value $valid -Message ('entry {0} is out of range' -f $Index)
    $served = Test-ServedBy -Mode $Mode -Protocol $entry.Protocol -ServedBy $entry.ServedBy
    Assert-Valid -Value $served -Message ('entry {0} is served by what its mode does not have' -f $Index)
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
    Assert-Valid -Value $parts.Success -Message 'not of the agreed form'
    Assert-Valid -Value ($parts.Groups['version'].Value -ceq '1') -Message 'of another version'
    Assert-Valid -Value ((Find-Ticket -Text $Text) -ne 0) -Message 'the ticket is out of range'
    $mode = @{ '1' = 'nat'; '2' = 'mirrored' }[$parts.Groups['mode'].Value]
    Assert-Valid -Value ($null -ne $mode) -Message 'the mode is out of range'
    # Seven characters at least: what lies between two entries is shorter.
    $texts = @([regex]::Matches($parts.Groups['forwards'].Value, '[0-9,]{7,}'))
    Assert-Valid -Value ($texts.Count -le 2000) -Message 'more than 2000 entries'
    $index = 0
    $entries = @(foreach ($item in $texts) {
        ConvertTo-Entry -Text $item.Value -Mode $mode -Index $index
        $index += 1
    })
    @{ Mode = $mode; Entries = $entries }
}

# The entries that the policy allows, as forwards: address and firewall come from the
# policy. The others are refused one by one.
function Select-Granted {
    param([hashtable] $Policy, [object[]] $Entries)
    $seen = @{}
    $selected = @{ Forwards = @(); Refused = @() }
    foreach ($entry in $Entries) {
        $grant = Find-Grant -Policy $Policy -Protocol $entry.Protocol -ListenPort $entry.ListenPort -ConnectPort $entry.ConnectPort
        $reason = ''
        if ($null -eq $grant) {
            $reason = 'outside-policy'
        } elseif ((Get-GrantServer -Policy $Policy -Grant $grant) -cne 'portproxy') {
            $reason = 'backend'
        }
        if ($reason -cne '') {
            $selected.Refused += New-Refused -Forward $entry -Reason $reason
            continue
        }
        $forward = $entry + @{ Address = $grant.Address; Firewall = $grant.Firewall; Listener = '{0}/{1}' -f $grant.Address, $entry.ListenPort }
        $key = $forward.Protocol + '/' + $forward.Listener
        Assert-Valid -Value (-not $seen.ContainsKey($key)) -Message 'two entries listen in the same place'
        $seen[$key] = $true
        $selected.Forwards += $forward
    }
    $selected
}

# Where the guest is not known, the rules that lead to it stay, because they may be right;
# what is no longer asked for goes.
function Invoke-Selection {
    param([hashtable] $Selection, [string] $Sid)
    $script:Step = 'read the policy'
    $policy = Get-InstalledPolicy -Sid $Sid
    $granted = Select-Granted -Policy $policy -Entries $Selection.Entries
    $guest = @{ Address = $null; Problem = $null }
    if ($Selection.Mode -ceq 'nat') {
        $script:Step = 'read what WSL has on record'
        $guest = Find-Guest -Sid $Sid
    }
    $answer = Sync-Forwards -Forwards $granted.Forwards -Guest $guest.Address -Sid $Sid -Policy $policy
    if (($granted.Forwards.Count -gt 0) -and ($null -eq $guest.Address) -and (@('synced', 'partial') -ccontains $answer['state'])) {
        $answer['state'] = 'guest-address-unknown'
        $answer['detail'] = $guest.Problem
    }
    $answer['guest-address'] = $guest.Address
    $answer['refused'] = @($granted.Refused)
    $answer
}

# Runs are queued, and each reads the selection as it is then: the last one written is
# served last. The lock is for runs of another user's task; what a user wrote is looked at
# before it, so that no user's text keeps the others waiting.
function Get-TaskText {
    param([string] $Sid)
    $ticket = 0
    try {
        $script:Step = 'read the selection'
        $text = Read-Selection -Sid $Sid
        $ticket = Find-Ticket -Text $text
        $script:Step = 'check the selection'
        $selection = ConvertTo-Selection -Text $text
        $script:Step = 'wait for an earlier sync to end'
        $lock = Enter-SyncLock
        try {
            $answer = Invoke-Selection -Selection $selection -Sid $Sid
        } finally {
            Exit-SyncLock -Lock $lock
        }
    } catch [System.IO.InvalidDataException] {
        $answer = New-Answer -State 'invalid-request' -Detail ('the request file was changed by another program ({0}); the next sync writes it again' -f (Format-Failure -Step $script:Step -Failure $_))
    } catch {
        $answer = New-Answer -State 'failed' -Detail (Format-Failure -Step $script:Step -Failure $_)
    }
    $answer['elevated'] = $true
    # Second, so that who waits can tell by the first characters whose answer it is.
    $answer.Insert(1, 'ticket', $ticket)
    ConvertTo-AsciiJson -Answer $answer
}

# The exit code is the last result of the task: 2 no SID, 3 constrained language, 4 no answer can be written.
function Invoke-Script {
    Assert-Language -Code 3
    if ($Sid -cnotmatch $SidPattern) { exit 2 }
    $text = Get-TaskText -Sid $Sid
    try {
        Set-WinText -Path ((Get-InstalledFolder) + '\' + $Sid + '\answer.json') -Text $text
    } catch {
        # The code is all that can be said where no file can be written.
        exit 4
    }
    Write-WinOutput -Text ($text + "`n")
    exit 0
}
