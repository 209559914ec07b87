# The whole way through the task: a rule that nobody needs is asked for, looked for in
# the registry, and withdrawn again.

$ProxyPath = 'SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp'

# What follows the ticket in a selection, with its mode and its listen ports; $null for
# a text that is not exactly what refresh.ps1 writes. Of no text at all: no forwards.
function Read-PresentSelection {
    param([string] $Text)
    if ($Text -ceq '') {
        return @{ Mode = 1; Rest = '"mode":1,"forwards":[]}'; Ports = @(); Size = 0 }
    }
    $entry = '\[(?:6|17),[1-9][0-9]{0,4},[1-9][0-9]{0,4},[123]\]'
    $form = '\A\{"version":1,"ticket":[1-9][0-9]{0,9},(?<rest>"mode":(?<mode>[12]),"forwards":\[(?<forwards>(?:' + $entry + '(?:,' + $entry + ')*)?)\]\})\z'
    $parts = [regex]::Match($Text, $form)
    if (-not $parts.Success) {
        return $null
    }
    $ports = @(foreach ($item in [regex]::Matches($parts.Groups['forwards'].Value, '\[[0-9]+,(?<port>[0-9]+),')) {
        $item.Groups['port'].Value
    })
    @{ Mode = [int] $parts.Groups['mode'].Value; Rest = $parts.Groups['rest'].Value; Ports = $ports; Size = $ports.Count }
}

# The same with one forward more, which the port proxy serves.
function Add-Entry {
    param([hashtable] $Selection, [hashtable] $Spare)
    $entry = '[6,{0},{1},1]' -f $Spare.Listen, $Spare.Connect
    if ($Selection.Size -gt 0) {
        $entry = ',' + $entry
    }
    $Selection.Rest.Substring(0, $Selection.Rest.Length - 2) + $entry + ']}'
}

# A port that the policy allows and nobody has, or $null. Where there is a choice, one
# that the firewall stays shut for.
function Find-SparePort {
    param([hashtable] $Policy, [hashtable] $Taken)
    foreach ($firewall in @('none', 'local', 'full')) {
        foreach ($grant in $Policy.Grants) {
            if (($grant.Protocol -cne 'tcp') -or ($grant.Firewall -cne $firewall)) {
                continue
            }
            for ($port = $grant.Listen.Last; $port -ge $grant.Listen.First; $port -= 1) {
                if (-not $Taken.ContainsKey([string] $port)) {
                    return @{ Listen = $port; Connect = $grant.Connect.Last }
                }
            }
        }
    }
    $null
}

# Ports with a rule of anybody, with a forward, or with a listener.
function Get-TakenPorts {
    param([hashtable] $Selection)
    $taken = @{}
    foreach ($listener in (Get-RegistryValues -Path $ProxyPath).Keys) {
        if ($listener -cmatch $ListenerPattern) {
            $taken[$listener.Split('/')[1]] = $true
        }
    }
    foreach ($port in @($Selection.Ports) + @((Get-ListeningAddresses).Keys)) {
        $taken[[string] $port] = $true
    }
    $taken
}

# Where the rules on a port lead to, as the registry has it.
function Find-RuleTargets {
    param([int] $Port)
    $values = Get-RegistryValues -Path $ProxyPath
    foreach ($listener in $values.Keys) {
        if ($listener -clike ('*/{0}' -f $Port)) {
            $values[$listener]
        }
    }
}

# The task may be reading the file.
function Write-SelectionSoon {
    param([string] $Sid, [string] $Text)
    for ($turn = 1; $true; $turn += 1) {
        try {
            Write-Selection -Sid $Sid -Text $Text
            return
        } catch {
            if ($turn -ge 20) {
                throw
            }
        }
        Wait-Moment
    }
}

# The text of the task's answer, or ''.
function Invoke-Run {
    param([string] $Sid, [string] $Rest)
    $clock = New-Clock
    $ticket = New-Ticket
    Write-SelectionSoon -Sid $Sid -Text ('{"version":1,"ticket":' + $ticket + ',' + $Rest)
    Start-ForwardTask -Sid $Sid
    Wait-Answer -Sid $Sid -Ticket $ticket -Clock $clock
}

# The state is the third field of an answer.
function Get-AnswerState {
    param([string] $Text)
    $found = [regex]::Match($Text, '\A\{"version":1,"ticket":[0-9]+,"[a-z]+":"(?<state>[a-z-]+)"')
    if ($found.Success) {
        return $found.Groups['state'].Value
    }
    'no answer within 10 s'
}

# Whatever happens, the selection that was there is put back, and the task told of it.
function Test-ScratchRule {
    param([string] $Sid, [hashtable] $Selection, [string] $Text, [hashtable] $Spare, [string] $Guest)
    $facts = [ordered] @{ 'port' = $Spare.Listen; 'step' = $null; 'made' = $null; 'removed' = $null }
    $expected = '{0}/{1}' -f $Guest, $Spare.Connect
    $found = ''
    try {
        $facts['made'] = Get-AnswerState -Text (Invoke-Run -Sid $Sid -Rest (Add-Entry -Selection $Selection -Spare $Spare))
        $found = @(Find-RuleTargets -Port $Spare.Listen) -join ' '
    } catch {
        $facts['made'] = $_.Exception.Message
    } finally {
        try {
            $facts['removed'] = Get-AnswerState -Text (Invoke-Run -Sid $Sid -Rest $Selection.Rest)
        } catch {
            $facts['removed'] = $_.Exception.Message
        }
        if ($Text -ceq '') {
            Write-SelectionSoon -Sid $Sid -Text ''
        }
    }
    if ($found -ceq '') {
        $facts['step'] = 'no rule was made'
    } elseif ($found -cne $expected) {
        $facts['step'] = 'the rule leads to {0} instead of {1}' -f $found, $expected
    }
    if (@(Find-RuleTargets -Port $Spare.Listen).Count -gt 0) {
        $facts['step'] = 'the rule was not removed'
    }
    New-Finding -Result (Test-That -Value ($null -eq $facts['step'])) -Facts $facts
}

# Everything that can keep the trial from being made is found before anything is written.
function Find-ScratchPlace {
    param([string] $Sid, [hashtable] $Policy)
    try {
        $text = Read-Selection -Sid $Sid
    } catch {
        return New-Skipped -Reason ('the present selection cannot be read: ' + $_.Exception.Message)
    }
    $selection = Read-PresentSelection -Text $text
    if ($null -eq $selection) {
        return New-Skipped -Reason 'the present selection is not of a form that this version writes, and stays untouched'
    }
    if ($selection.Mode -ne 1) {
        return New-Skipped -Reason 'mirrored networking: the port proxy is not used'
    }
    $ledger = Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid + '\ledger')
    if (($text -ceq '') -and ($ledger.Count -gt 0)) {
        return New-Skipped -Reason 'rules of ours stand and there is no selection to put back: start the agent first'
    }
    # The most that a selection may have, in entries and in bytes.
    if (($selection.Size -ge 2000) -or ($text.Length -gt 65000)) {
        return New-Skipped -Reason 'the present selection has no room for one forward more'
    }
    $guest = Find-GuestAddress -Sid $Sid
    if ($guest.Result -cne 'ok') {
        return New-Skipped -Reason 'WSL has no address of the guest on record'
    }
    $spare = Find-SparePort -Policy $Policy -Taken (Get-TakenPorts -Selection $selection)
    if ($null -eq $spare) {
        return New-Skipped -Reason 'no spare port in the policy: wslmesh host install --ports tcp:2299'
    }
    @{ Result = 'found'; Selection = $selection; Text = $text; Spare = $spare; Guest = $guest.Facts['address'] }
}

# Run under the lock that refresh.ps1 takes for the same file and the same task. The
# agent gives all checks 60 s: with less than half of it left, nothing is begun that
# might not be ended.
function Find-ScratchRule {
    param([hashtable] $Caller, [bool] $Probe)
    if (-not $Probe) {
        return New-Skipped -Reason 'makes a rule and removes it: run with a probe'
    }
    $installed = Read-Installed -Values (Get-RegistryValues -Path 'SOFTWARE\wslmesh')
    $own = Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid)
    if (($null -eq $installed) -or (-not $own.ContainsKey('policy')) -or ($null -eq (Get-TaskFacts -Sid $Caller.Sid).Forward)) {
        return New-Skipped -Reason 'not installed'
    }
    if ($installed.Contract -ne $Contract) {
        return New-Skipped -Reason 'what is installed is of another version: run wslmesh host install'
    }
    try {
        $policy = ConvertTo-Policy -Text $own['policy']
    } catch [System.IO.InvalidDataException] {
        return New-Skipped -Reason 'the policy in the registry cannot be read: run wslmesh host install'
    }
    if ((Get-AgeMilliseconds) -gt 25000) {
        return New-Skipped -Reason 'the checks before took too long: no time is left to remove the rule again'
    }
    try {
        $lock = Enter-Lock -Name ('Global\wslmesh-refresh-' + $Caller.Sid)
    } catch {
        return New-Skipped -Reason $_.Exception.Message
    }
    try {
        $place = Find-ScratchPlace -Sid $Caller.Sid -Policy $policy
        if ($place.Result -cne 'found') {
            return $place
        }
        Test-ScratchRule -Sid $Caller.Sid -Selection $place.Selection -Text $place.Text -Spare $place.Spare -Guest $place.Guest
    } finally {
        Exit-Lock -Lock $lock
    }
}
