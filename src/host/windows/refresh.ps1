#Requires -Version 5.1
# refresh.ps1: makes the forwards of one Windows user those that the agent inside
# WSL asks for. One call is one sync: a JSON request on standard input, one JSON
# answer on standard output, exit code 0 whenever an answer was printed.
#
# What the relay serves needs nothing of Windows but what an install left; it is read back. What the port proxy serves
# is done by forward.ps1, which a task runs as SYSTEM; this script says which forwards it is about, in integers, and
# waits for the answer. Where the caller happens to be elevated, it does the work by itself.

# The stream that this script came by; none where it is a file.
param($Stream)

# Whom a scope lets in, as an order.
$FirewallWidth = @{ 'none' = 0; 'local' = 1; 'full' = 2 }

function ConvertTo-RequestedForward {
    param($Forward, [string] $Mode, [string] $Place)
    Assert-Fields -Object $Forward -Place $Place -Fields @{
        'protocol' = @('tcp', 'udp'); 'listen-address' = $ListenPattern; 'listen-port' = @(1, 65535); 'connect-port' = @(1, 65535)
        'served-by' = @('portproxy', 'relay', 'guest'); 'firewall' = @('none', 'local', 'full')
    }
    $served = (Test-ServedBy -Mode $Mode -Protocol $Forward.'protocol' -ServedBy $Forward.'served-by') -and
        (($Forward.'served-by' -cne 'portproxy') -or (-not (Test-Version6 -Address $Forward.'listen-address')))
    $words = '{0}.served-by: {1} cannot serve {2} on {3} in mode {4}' -f $Place, $Forward.'served-by', $Forward.'protocol', $Forward.'listen-address', $Mode
    Assert-Valid -Value $served -Message $words
    @{
        Protocol = $Forward.'protocol'; Address = $Forward.'listen-address'; ListenPort = [int] $Forward.'listen-port'
        ConnectPort = [int] $Forward.'connect-port'; ServedBy = $Forward.'served-by'; Firewall = $Forward.'firewall'
        Listener = '{0}/{1}' -f $Forward.'listen-address', $Forward.'listen-port'
    }
}

# Request text -> mode, address of the guest, forwards in the order of the request, and whether the dynamic ports are
# asked for: they seldom change, and each netsh costs a moment.
function ConvertTo-Request {
    param([string] $Text)
    $request = ConvertFrom-RequestText -Text $Text -Place 'request'
    Assert-Fields -Object $request -Place 'request' -Fields @{
        'version' = @(1, 1); 'action' = @('sync', 'sync-and-ports'); 'mode' = @('nat', 'mirrored'); 'connect-address' = $GuestPattern
        'forwards' = @{ Of = [object]; Least = 0; Most = 2000 }
    }
    $seen = @{}
    $forwards = @(foreach ($item in $request.'forwards') {
        $place = 'forwards[{0}]' -f $seen.Count
        $forward = ConvertTo-RequestedForward -Forward $item -Mode $request.'mode' -Place $place
        $key = $forward.Protocol + '/' + $forward.Listener
        Assert-Valid -Value (-not $seen.ContainsKey($key)) -Message ('{0}: {1} is asked for twice' -f $place, $key)
        $seen[$key] = $true
        $forward
    })
    @{ Mode = $request.'mode'; Guest = $request.'connect-address'; Forwards = $forwards; Ports = $request.'action' -ceq 'sync-and-ports' }
}

# Why a grant does not allow a forward, or ''. What the relay serves may be open to fewer than its grant: the relay
# sees to that.
function Find-Gap {
    param([hashtable] $Policy, $Grant, [hashtable] $Forward, [bool] $Elevated)
    if ($null -eq $Grant) { return 'outside-policy' }
    if ($Grant.Address -cne $Forward.Address) { return 'listen-address' }
    $server = Get-GrantServer -Policy $Policy -Grant $Grant
    # The relay refuses administrator rights.
    if ($Elevated -and ($Grant.Backend -cne 'relay') -and (Test-Proxied -Forward $Grant)) { $server = 'portproxy' }
    if (($Forward.ServedBy -cne 'guest') -and ($server -cne 'guest') -and ($server -cne $Forward.ServedBy)) { return 'backend' }
    $wider = $FirewallWidth[$Forward.Firewall] - $FirewallWidth[$Grant.Firewall]
    if (($wider -gt 0) -or (($wider -lt 0) -and ($Forward.ServedBy -cne 'relay'))) { return 'firewall' }
    ''
}

# The request against the policy, before anything is asked of the elevated side.
# That side checks again: here the check is for an answer that says what is wrong.
function Select-Allowed {
    param([hashtable] $Policy, [object[]] $Forwards, [bool] $Elevated)
    $selected = @{ Forwards = @(); Refused = @(); Narrower = @() }
    foreach ($forward in $Forwards) {
        $grant = Find-Grant -Policy $Policy -Protocol $forward.Protocol -ListenPort $forward.ListenPort -ConnectPort $forward.ConnectPort
        $gap = Find-Gap -Policy $Policy -Grant $grant -Forward $forward -Elevated $Elevated
        if ($gap -cne '') {
            $selected.Refused += New-Refused -Forward $forward -Reason $gap
            continue
        }
        $selected.Forwards += $forward
        if ($grant.Firewall -cne $forward.Firewall) {
            $selected.Narrower += [ordered] @{ 'protocol' = $forward.Protocol; 'listen-port' = $forward.ListenPort; 'connect-port' = $forward.ConnectPort }
        }
    }
    $selected
}

# The selection: integers alone, in exactly the form that forward.ps1 takes.
function ConvertTo-SelectionText {
    param([int] $Ticket, [string] $Mode, [object[]] $Forwards)
    $protocols = @{ 'tcp' = 6; 'udp' = 17 }
    $modes = @{ 'nat' = 1; 'mirrored' = 2 }
    $entries = @(foreach ($forward in $Forwards) {
        # 1: the port proxy.
        '[{0},{1},{2},1]' -f $protocols[$forward.Protocol], $forward.ListenPort, $forward.ConnectPort
    })
    '{"version":1,"ticket":' + $Ticket + ',"mode":' + $modes[$Mode] + ',"forwards":[' + ($entries -join ',') + ']}'
}

# What HKLM says is installed, as the answer has it. Fields that another version may
# have are passed over: its contract says that it is another one.
function Get-Installed {
    param([string] $Sid)
    $found = Read-Installed -Values (Get-WinRegistryValues -Path 'SOFTWARE\wslmesh')
    if (($null -eq $found) -or ($found.Contract -eq 0)) {
        throw 'what Windows has on record as installed is damaged; run "wslmesh host install" again'
    }
    $relay = Get-RelayPath
    if (-not (Test-WinFile -Path $relay)) { $relay = $null }
    $forbidden = (Get-OwnValue -Sid $Sid -Name 'relay') -ceq 'forbidden'
    [ordered] @{ 'version' = $found.Version; 'contract' = $found.Contract; 'relay' = $relay; 'relay-forbidden' = $forbidden }
}

$TaskProblems = @{
    '0x80070002' = 'is missing; run "wslmesh host install" again'
    '0x80070003' = 'is missing; run "wslmesh host install" again'
    '0x80070005' = 'may not be started by this Windows user; run "wslmesh host install" again'
    '0x80041326' = 'is disabled; enable it in the Task Scheduler'
    '0x80041315' = 'cannot run: the service Schedule is not running'
}

function ConvertFrom-TaskAnswer {
    param([string] $Text)
    try {
        $found = ConvertFrom-RequestText -Text $Text -Place 'answer'
    } catch [System.IO.InvalidDataException] {
        throw 'the task''s answer cannot be read; run "wslmesh host install" again'
    }
    $answer = New-Answer -State 'failed' -Detail $null
    foreach ($name in @('state', 'detail', 'rules', 'added', 'removed', 'kept', 'conflicts', 'taken', 'refused', 'firewall', 'guest-address')) {
        $property = $found.PSObject.Properties[$name]
        if ($null -eq $property) { throw ('the task''s answer has no field "{0}"; run "wslmesh host install" again' -f $name) }
        $answer[$name] = $property.Value
        # A list stays one, whatever its length, and becomes an array of our own.
        if ($property.Value -is [System.Collections.IList]) { $answer[$name] = @($property.Value) }
    }
    # A task of an earlier version does not say.
    $restored = $found.PSObject.Properties['restored']
    if ($null -ne $restored) { $answer['restored'] = @($restored.Value) }
    $answer
}

# What can be said without administrator rights and without the task. Rules can be read and not written, so the
# answer says whether the rules are the wanted ones.
function Get-UnelevatedAnswer {
    param([object[]] $Forwards, [string] $Guest, [string] $Sid)
    $read = Read-Rules -Sid $Sid
    $wanted = Get-WantedRules -Forwards $Forwards -Guest $Guest -Owned $read.Owned
    $plan = New-Plan -Wanted $wanted -Read $read
    $answer = New-UnchangedAnswer -State 'synced' -Detail $null -Plan $plan -Read $read
    $script:Step = 'ask for the service iphlpsvc'
    if ($plan.Changes -gt 0) {
        $answer['state'] = 'not-elevated'
        $answer['detail'] = '{0} forward(s) must change, which needs "wslmesh host install"' -f $plan.Changes
    } elseif (($wanted.Count -gt 0) -and (-not (Test-WinService -Name 'iphlpsvc'))) {
        $answer['state'] = 'service-stopped'
    }
    $answer
}

# What is to be said where nothing was done: the rules as they are.
function Get-UnchangedAnswer {
    param([string] $State, $Detail, [object[]] $Forwards, [string] $Guest, [string] $Sid)
    $read = Read-Rules -Sid $Sid
    $plan = New-Plan -Wanted (Get-WantedRules -Forwards $Forwards -Guest $Guest -Owned $read.Owned) -Read $read
    New-UnchangedAnswer -State $State -Detail $Detail -Plan $plan -Read $read
}

# The answer of the task, or the rules as they are where it gave none.
function Invoke-Task {
    param([object[]] $Forwards, [hashtable] $Request, [string] $Sid)
    $ticket = New-Ticket
    try {
        $text = ConvertTo-SelectionText -Ticket $ticket -Mode $Request.Mode -Forwards $Forwards
        $run = Invoke-TaskRun -Sid $Sid -Ticket $ticket -Text $text
    } catch {
        # Whatever the scheduler refuses is said; nothing was changed.
        if ($script:Step -cne 'start the task') { throw }
        $number = Get-FailureNumber -Failure $_
        $words = 'could not be started'
        if ($TaskProblems.ContainsKey($number)) { $words = $TaskProblems[$number] }
        $detail = 'the task \wslmesh\forward-{0} {1} ({2})' -f $Sid, $words, $number
        return Get-UnchangedAnswer -State 'task-failed' -Detail $detail -Forwards $Forwards -Guest $Request.Guest -Sid $Sid
    }
    if ($run.Text -cne '') { return ConvertFrom-TaskAnswer -Text $run.Text }
    Get-UnchangedAnswer -State $run.State -Detail $run.Detail -Forwards $Forwards -Guest $Request.Guest -Sid $Sid
}

# Whether the task has something to do: a forward by the port proxy, or what is left of one.
function Test-TaskNeeded {
    param([hashtable] $Policy, [object[]] $Forwards, [string] $Sid)
    if (-not (Test-NeedsTask -Policy $Policy)) { return $false }
    $left = @((Get-LedgerValues -Sid $Sid).Keys | Where-Object { ($_ -clike 'tcp/*') -or ($_ -clike 'pending/*') -or ($_ -clike 'firewall/*-portproxy') })
    ($left.Count -gt 0) -or (@($Forwards | Where-Object { $_.ServedBy -ceq 'portproxy' }).Count -gt 0)
}

# Installed: the policy says what may be asked for. What the port proxy serves the task does, or this call by itself
# where it is elevated (the lock is the caller's then).
function Invoke-Installed {
    param([hashtable] $Request, [System.Collections.IDictionary] $Installed, [string] $Sid, [bool] $Elevated)
    if ($Installed['contract'] -ne $Contract) {
        $detail = 'the Windows side is of another version ({0}); run "wslmesh host install"' -f $Installed['version']
        return Get-UnchangedAnswer -State 'other-version' -Detail $detail -Forwards $Request.Forwards -Guest $Request.Guest -Sid $Sid
    }
    $script:Step = 'read the policy'
    $policy = Get-InstalledPolicy -Sid $Sid
    $allowed = Select-Allowed -Policy $policy -Forwards $Request.Forwards -Elevated $Elevated
    $proxied = @($allowed.Forwards | Where-Object { $_.ServedBy -ceq 'portproxy' })
    if ($Elevated) {
        $answer = Sync-Forwards -Forwards $proxied -Guest $Request.Guest -Sid $Sid -Policy $policy
    } elseif (Test-TaskNeeded -Policy $policy -Forwards $proxied -Sid $Sid) {
        $answer = Invoke-Task -Forwards $proxied -Request $Request -Sid $Sid
    } else {
        $answer = Get-UnelevatedAnswer -Forwards $proxied -Guest $Request.Guest -Sid $Sid
    }
    if ($null -eq $answer['firewall']) {
        $answer['firewall'] = Sync-Firewall -Policy $policy -Forwards $proxied -Owned (Read-Rules -Sid $Sid).Owned -Sid $Sid -Guest '' -Write $false
    }
    if (($Request.Mode -cne $policy.Mode) -and ($policy.Grants.Count -gt 0)) {
        $answer['firewall'].'state' = 'failed'
        $answer['firewall'].'detail' = 'the firewall rules were made for mode {0}; run "wslmesh host install"' -f $policy.Mode
    }
    if (($answer['state'] -ceq 'synced') -and ($answer['firewall'].'state' -ceq 'failed')) { $answer['state'] = 'partial' }
    $answer['refused'] = @($allowed.Refused) + @($answer['refused'])
    $answer['narrower'] = @($allowed.Narrower)
    $script:Step = 'look at the ports'
    $answer['silent'] = @(Find-Silent -Forwards $Request.Forwards)
    $answer
}

# Elevated: this call does the work, within the policy where there is one, else with the profiles that are no public
# network's. An earlier call may still be at work after its agent gave up on it; the later request must be the one
# that is served at the end.
function Invoke-Elevated {
    param([hashtable] $Request, [string] $Sid)
    $ticket = New-Ticket
    $script:Step = 'register the request'
    $own = 'SOFTWARE\wslmesh\' + $Sid
    Set-WinRegistryValues -Path $own -Values @{ 'latest' = [string] $ticket } -Removed @()
    $script:Step = 'wait for an earlier sync to end'
    $lock = Enter-SyncLock
    try {
        # Of several that waited the last one is served, whichever got the lock first.
        if ((Get-OwnValue -Sid $Sid -Name 'latest') -cne [string] $ticket) {
            return New-Answer -State 'superseded' -Detail $Superseded
        }
        Set-WinRegistryValues -Path $own -Values @{} -Removed @('latest')
        if ((Get-OwnValue -Sid $Sid -Name 'policy') -cne '') {
            return Invoke-Installed -Request $Request -Installed (Get-Installed -Sid $Sid) -Sid $Sid -Elevated $true
        }
        Sync-Forwards -Forwards $Request.Forwards -Guest $Request.Guest -Sid $Sid -Policy $null
        if ($Request.Forwards.Count -eq 0) {
            # A ledger with something in it stays, and with it the keys above.
            $script:Step = 'remove the empty keys'
            foreach ($path in @(($own + '\ledger'), $own, 'SOFTWARE\wslmesh')) { Remove-WinRegistryKey -Path $path -Whole $false }
        }
    } finally {
        Exit-SyncLock -Lock $lock
    }
}

# The facts come before the rules: once rules are written, nothing but the answer
# may stand between the agent and knowing about them.
function Get-AnswerText {
    $facts = @{ Address = $null; Mtu = $null }
    $caller = @{ Sid = ''; Elevated = $false }
    $installed = $null
    $local = $null
    $dynamic = $null
    try {
        $script:Step = 'read standard input'
        $text = [System.Text.Encoding]::UTF8.GetString((Read-WinInput -Stream $Stream).Bytes)
        $script:Step = 'check the request'
        $request = ConvertTo-Request -Text $text
        $script:Step = 'look at the network interfaces'
        $facts = Get-NetworkFacts
        if ($request.Ports) { $dynamic = Get-DynamicRanges }
        $script:Step = 'find out who runs this'
        $caller = Get-WinCaller
        $local = Get-WinPath -Name 'LocalApplicationData'
        if ($local -ceq '') { $local = $null }
        $script:Step = 'look for a policy'
        $policy = Get-OwnValue -Sid $caller.Sid -Name 'policy'
        $script:Step = 'read what is installed'
        # Nothing of it counts for a user without a policy.
        if ($policy -cne '') { $installed = Get-Installed -Sid $caller.Sid }
        if ($caller.Elevated) {
            $answer = Invoke-Elevated -Request $request -Sid $caller.Sid
        } elseif ($policy -cne '') {
            $answer = Invoke-Installed -Request $request -Installed $installed -Sid $caller.Sid -Elevated $false
        } else {
            $answer = Get-UnelevatedAnswer -Forwards $request.Forwards -Guest $request.Guest -Sid $caller.Sid
        }
    } catch [System.IO.InvalidDataException] {
        $answer = New-Answer -State 'invalid-request' -Detail (Format-Failure -Step $script:Step -Failure $_)
    } catch {
        $answer = New-Answer -State 'failed' -Detail (Format-Failure -Step $script:Step -Failure $_)
    }
    $answer['elevated'] = $caller.Elevated
    $answer['installed'] = $installed
    $answer['local-app-data'] = $local
    $answer['windows-address'] = $facts.Address
    $answer['lowest-mtu'] = $facts.Mtu
    $answer['dynamic'] = $dynamic
    ConvertTo-AsciiJson -Answer $answer
}

function Invoke-Script {
    Assert-Language -Code 0
    Write-WinOutput -Text ((Get-AnswerText) + "`n")
    exit 0
}
