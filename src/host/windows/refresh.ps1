#Requires -Version 5.1
# refresh.ps1: makes the forwards of one Windows user those that the agent inside
# WSL asks for. One call is one sync: a JSON request on standard input, one JSON
# answer on standard output, exit code 0 whenever an answer was printed.
#
# Where wslmesh is installed on Windows the work is done by forward.ps1, which a task
# runs as SYSTEM; this script says which forwards it is about, in integers, and waits
# for the answer. Where nothing is installed and the caller happens to be elevated,
# it does the work by itself.

function ConvertTo-RequestedForward {
    param($Forward, [string] $Mode, [string] $Place)
    Assert-Fields -Object $Forward -Place $Place -Names @('protocol', 'listen-address', 'listen-port', 'connect-port', 'served-by', 'firewall')
    $protocol = ConvertTo-Choice -Value $Forward.'protocol' -Choices @('tcp', 'udp') -Place ($Place + '.protocol')
    $address = ConvertTo-Address -Value $Forward.'listen-address' -Place ($Place + '.listen-address')
    $listenPort = ConvertTo-Port -Value $Forward.'listen-port' -Place ($Place + '.listen-port')
    $connectPort = ConvertTo-Port -Value $Forward.'connect-port' -Place ($Place + '.connect-port')
    $servedBy = ConvertTo-Choice -Value $Forward.'served-by' -Choices @('portproxy', 'relay', 'guest') -Place ($Place + '.served-by')
    $firewall = ConvertTo-Choice -Value $Forward.'firewall' -Choices @('none', 'local', 'full') -Place ($Place + '.firewall')
    if (-not (Test-ServedBy -Mode $Mode -Protocol $protocol -ServedBy $servedBy)) {
        throw (New-InvalidRequest -Message ('{0}.served-by: {1} cannot serve {2} in mode {3}' -f $Place, $servedBy, $protocol, $Mode))
    }
    New-Forward -Protocol $protocol -Address $address -ListenPort $listenPort -ConnectPort $connectPort -ServedBy $servedBy -Firewall $firewall
}

# Request text -> mode, address of the guest, and forwards in the order of the request.
function ConvertTo-Request {
    param([string] $Text)
    try {
        $request = ConvertFrom-Json -InputObject $Text
    } catch {
        throw (New-InvalidRequest -Message ('request: not JSON: ' + $_.Exception.Message))
    }
    Assert-Fields -Object $request -Place 'request' -Names @('version', 'action', 'mode', 'connect-address', 'forwards')
    if (-not (Test-Integer -Value $request.'version' -First 1 -Last 1)) {
        throw (New-InvalidRequest -Message 'version: this script speaks version 1 only')
    }
    [void] (ConvertTo-Choice -Value $request.'action' -Choices @('sync') -Place 'action')
    $mode = ConvertTo-Choice -Value $request.'mode' -Choices @('nat', 'mirrored') -Place 'mode'
    $guest = ConvertTo-GuestAddress -Value $request.'connect-address' -Place 'connect-address'
    if ($request.'forwards' -isnot [System.Collections.IList]) {
        throw (New-InvalidRequest -Message 'forwards: must be a list')
    }
    if ($request.'forwards'.Count -gt 2000) {
        throw (New-InvalidRequest -Message 'forwards: more than 2000')
    }
    $seen = @{}
    $index = 0
    $forwards = New-Object System.Collections.ArrayList
    foreach ($item in $request.'forwards') {
        $place = 'forwards[{0}]' -f $index
        $forward = ConvertTo-RequestedForward -Forward $item -Mode $mode -Place $place
        $key = $forward.Protocol + '/' + $forward.Listener
        if ($seen.ContainsKey($key)) {
            throw (New-InvalidRequest -Message ('{0}: {1} is asked for twice' -f $place, $key))
        }
        $seen[$key] = $true
        [void] $forwards.Add($forward)
        $index += 1
    }
    @{ Mode = $mode; Guest = $guest; Forwards = $forwards.ToArray() }
}

# The request against the policy, before anything is asked of the elevated side.
# That side checks again: here the check is for an answer that says what is wrong.
function Find-RefusalReason {
    param([hashtable] $Policy, [hashtable] $Forward)
    $grant = Find-Grant -Policy $Policy -Protocol $Forward.Protocol -ListenPort $Forward.ListenPort -ConnectPort $Forward.ConnectPort
    if ($null -eq $grant) {
        return 'outside-policy'
    }
    if ($grant.Address -cne $Forward.Address) {
        return 'listen-address'
    }
    if ($grant.Firewall -cne $Forward.Firewall) {
        return 'firewall'
    }
    ''
}

function Select-Agreed {
    param([hashtable] $Policy, [object[]] $Forwards)
    $agreed = New-Object System.Collections.ArrayList
    $refused = New-Object System.Collections.ArrayList
    foreach ($forward in $Forwards) {
        $reason = Find-RefusalReason -Policy $Policy -Forward $forward
        if ($reason -ceq '') {
            [void] $agreed.Add($forward)
        } else {
            [void] $refused.Add((New-Refused -Protocol $forward.Protocol -ListenPort $forward.ListenPort -ConnectPort $forward.ConnectPort -Reason $reason))
        }
    }
    @{ Forwards = $agreed.ToArray(); Refused = $refused.ToArray() }
}

# The selection: integers alone, in exactly the form that forward.ps1 takes.
function ConvertTo-SelectionText {
    param([int] $Ticket, [string] $Mode, [object[]] $Forwards)
    $protocols = @{ 'tcp' = 6; 'udp' = 17 }
    $servers = @{ 'portproxy' = 1; 'relay' = 2; 'guest' = 3 }
    $modes = @{ 'nat' = 1; 'mirrored' = 2 }
    $entries = @(foreach ($forward in $Forwards) {
        '[{0},{1},{2},{3}]' -f $protocols[$forward.Protocol], $forward.ListenPort, $forward.ConnectPort, $servers[$forward.ServedBy]
    })
    '{"version":1,"ticket":' + $Ticket + ',"mode":' + $modes[$Mode] + ',"forwards":[' + ($entries -join ',') + ']}'
}

# What HKLM says is installed, as the answer has it. Fields that another version may
# have are passed over: that it is another one is told by its contract.
function ConvertTo-Installed {
    param([string] $Text, $Relay)
    try {
        $installed = ConvertFrom-Json -InputObject $Text
        $version = ConvertTo-Text -Value $installed.'version' -Place 'installed.version'
        if (-not (Test-Integer -Value $installed.'contract' -First 1 -Last 2147483647)) {
            throw 'installed.contract: must be an integer'
        }
    } catch {
        throw ('the installation on Windows cannot be read ({0}); run "wslmesh host install" again' -f $_.Exception.Message)
    }
    [ordered] @{
        'version' = $version
        'contract' = $installed.'contract'
        'relay' = $Relay
    }
}

# An error of Windows by its number, whose text is localised.
function ConvertTo-ErrorNumber {
    param([System.Exception] $Exception)
    '0x{0:x8}' -f [int] $Exception.GetBaseException().HResult
}

function Get-TaskProblem {
    param([string] $Number, [string] $Sid)
    $known = @{
        '0x80070002' = 'is missing; run "wslmesh host install" again'
        '0x80070003' = 'is missing; run "wslmesh host install" again'
        '0x80070005' = 'may not be started by this Windows user; run "wslmesh host install" again'
        '0x80041326' = 'is disabled; enable it in the Task Scheduler'
        '0x80041315' = 'cannot run: the service Schedule is not running'
    }
    $words = 'could not be started'
    if ($known.ContainsKey($Number)) {
        $words = $known[$Number]
    }
    'the task \wslmesh\forward-{0} {1} ({2})' -f $Sid, $words, $Number
}

# forward.ps1 ends with a number of its own where it cannot write an answer.
function Get-TimeoutDetail {
    param([string] $Result)
    $known = @{
        '0x00000001' = 'it failed: a policy of this machine forbids the script, or its folder cannot be written'
        '0x00000002' = 'its argument is no SID; run "wslmesh host install" again'
        '0x00000003' = 'a policy of this machine keeps PowerShell in constrained language mode'
        '0x00041301' = 'it is still running'
        '0x00041303' = 'it has never run'
        '0x00041325' = 'it is queued'
    }
    $words = 'it has not come to an end, or no reason is known'
    if ($known.ContainsKey($Result)) {
        $words = $known[$Result]
    }
    'the task gave no answer to this request within the time: {0} (last result {1})' -f $words, $Result
}

# The task's answer, with the fields that it knows.
function ConvertFrom-TaskAnswer {
    param([string] $Text)
    $told = ConvertFrom-Json -InputObject $Text
    $answer = New-Answer -State 'failed' -Detail $null
    foreach ($name in @('state', 'detail', 'added', 'removed', 'kept', 'firewall', 'guest-address')) {
        $answer[$name] = Get-Told -Told $told -Name $name
    }
    foreach ($name in @('rules', 'conflicts', 'taken', 'refused')) {
        $answer[$name] = @(Get-Told -Told $told -Name $name)
    }
    $answer
}

function Get-Told {
    param($Told, [string] $Name)
    $property = $Told.PSObject.Properties[$Name]
    if ($null -eq $property) {
        throw ('the answer of the task has no field "{0}"' -f $Name)
    }
    $property.Value
}

# Chooses what to do without administrator rights where nothing is installed. Rules
# can be read and not written, so the answer says whether what stands is wanted.
function Get-UnelevatedAnswer {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid)
    $table = Read-Table -Wanted $Wanted -Sid $Sid
    $state = 'synced'
    $detail = $null
    $script:Step = 'ask for the service iphlpsvc'
    if ($table.Plan.Changes -gt 0) {
        $state = 'not-elevated'
        $detail = 'rules that would have to change: {0}' -f $table.Plan.Changes
    } elseif (($Wanted.Count -gt 0) -and (-not (Test-ProxyService))) {
        $state = 'service-stopped'
    }
    New-StandingAnswer -State $state -Detail $detail -Plan $table.Plan -Rules $table.Rules
}

# An answer of the time when the task has none: the rules as they stand.
function New-TaskFailure {
    param([string] $State, [string] $Detail, [System.Collections.IDictionary] $Wanted, [string] $Sid)
    $table = Read-Table -Wanted $Wanted -Sid $Sid
    New-StandingAnswer -State $State -Detail $Detail -Plan $table.Plan -Rules $table.Rules
}

# One request at a time writes the selection and waits. The 10 s hold for both, and
# for the waiting before: the agent waits 15 s for all of it.
function Invoke-Task {
    param([hashtable] $Agreed, [string] $Mode, [System.Collections.IDictionary] $Wanted, [string] $Sid)
    $clock = New-Clock
    $script:Step = 'wait for an earlier request to end'
    $lock = Enter-Lock -Name ('Global\wslmesh-refresh-' + $Sid)
    try {
        $ticket = New-Ticket
        $script:Step = 'write the selection'
        Write-Selection -Sid $Sid -Text (ConvertTo-SelectionText -Ticket $ticket -Mode $Mode -Forwards $Agreed.Forwards)
        try {
            $script:Step = 'start the task'
            Start-ForwardTask -Sid $Sid
        } catch {
            $detail = Get-TaskProblem -Number (ConvertTo-ErrorNumber -Exception $_.Exception) -Sid $Sid
            return New-TaskFailure -State 'task-failed' -Detail $detail -Wanted $Wanted -Sid $Sid
        }
        $script:Step = 'wait for the answer of the task'
        $text = Wait-Answer -Sid $Sid -Ticket $ticket -Clock $clock
        if ($text -ceq '') {
            $detail = Get-TimeoutDetail -Result (Get-TaskResult -Sid $Sid)
            return New-TaskFailure -State 'task-timeout' -Detail $detail -Wanted $Wanted -Sid $Sid
        }
        ConvertFrom-TaskAnswer -Text $text
    } finally {
        Exit-Lock -Lock $lock
    }
}

# Installed: the policy says what may be asked for, and the task does it.
function Invoke-Installed {
    param([hashtable] $Request, [string] $PolicyText, [System.Collections.IDictionary] $Installed, [string] $Sid)
    if ($Installed['contract'] -ne 1) {
        $detail = 'on Windows version {0} is installed, which speaks contract {1} instead of 1; run "wslmesh host install"' -f $Installed['version'], $Installed['contract']
        $wanted = Get-Wanted -Forwards $Request.Forwards -Guest $Request.Guest
        return New-TaskFailure -State 'other-version' -Detail $detail -Wanted $wanted -Sid $Sid
    }
    $script:Step = 'read the policy'
    $policy = ConvertTo-AgreedPolicy -Text $PolicyText
    $agreed = Select-Agreed -Policy $policy -Forwards $Request.Forwards
    $wanted = Get-Wanted -Forwards $agreed.Forwards -Guest $Request.Guest
    $answer = Invoke-Task -Agreed $agreed -Mode $Request.Mode -Wanted $wanted -Sid $Sid
    $answer['refused'] = @($agreed.Refused) + @($answer['refused'])
    $answer
}

# Not installed, and elevated all the same: this call does the work, with the profiles
# that are no public network's. An earlier call may still be at work after its agent
# gave up on it; the later request must be the one that stands at the end.
function Invoke-Elevated {
    param([hashtable] $Request, [string] $Sid)
    $script:Step = 'wait for an earlier sync to end'
    $lock = Enter-SyncLock
    try {
        Sync-Forwards -Forwards $Request.Forwards -Guest $Request.Guest -Sid $Sid -Profiles 3
        if ($Request.Forwards.Count -eq 0) {
            # A ledger with something in it stays, and with it the keys above.
            $script:Step = 'remove the empty keys'
            foreach ($path in @(('SOFTWARE\wslmesh\' + $Sid + '\ledger'), ('SOFTWARE\wslmesh\' + $Sid), 'SOFTWARE\wslmesh')) {
                Remove-EmptyKey -Path $path
            }
        }
    } finally {
        Exit-Lock -Lock $lock
    }
}

function Invoke-Sync {
    param([hashtable] $Request, [hashtable] $Caller, [string] $PolicyText, $Installed)
    if ($null -ne $Installed) {
        return Invoke-Installed -Request $Request -PolicyText $PolicyText -Installed $Installed -Sid $Caller.Sid
    }
    if ($Caller.Elevated) {
        return Invoke-Elevated -Request $Request -Sid $Caller.Sid
    }
    Get-UnelevatedAnswer -Wanted (Get-Wanted -Forwards $Request.Forwards -Guest $Request.Guest) -Sid $Caller.Sid
}

# What is installed for this user, or $null.
function Get-Installed {
    param([string] $PolicyText)
    if ($PolicyText -ceq '') {
        return $null
    }
    $script:Step = 'read what is installed'
    ConvertTo-Installed -Text (Get-InstalledText) -Relay (Get-InstalledRelay)
}

# The facts are extras: one that cannot be told is $null.
function Get-NetworkFacts {
    $facts = @{ Address = $null; Mtu = $null }
    try {
        $interfaces = @(Select-Connected -Interfaces @(Get-IPv4Interfaces))
        $facts.Mtu = Select-LowestMtu -Interfaces $interfaces
        $facts.Address = Select-DefaultAddress -Interfaces $interfaces
    } catch {
        # What has been found out until here stays.
        $null = $_
    }
    $facts
}

# The facts come before the rules: once rules are written, nothing but the answer
# may stand between the agent and knowing about them.
function Get-AnswerText {
    $facts = @{ Address = $null; Mtu = $null }
    $caller = @{ Sid = ''; Elevated = $false }
    $installed = $null
    $local = $null
    try {
        $script:Step = 'read standard input'
        $text = Read-StandardInput
        $script:Step = 'check the request'
        $request = ConvertTo-Request -Text $text
        $script:Step = 'look at the network interfaces'
        $facts = Get-NetworkFacts
        $script:Step = 'find out who runs this'
        $caller = Get-Caller
        $local = Get-LocalAppData
        $script:Step = 'look for a policy'
        $policy = Get-PolicyText -Sid $caller.Sid
        $installed = Get-Installed -PolicyText $policy
        $answer = Invoke-Sync -Request $request -Caller $caller -PolicyText $policy -Installed $installed
    } catch [System.IO.InvalidDataException] {
        $answer = New-Answer -State 'invalid-request' -Detail $_.Exception.Message
    } catch {
        $answer = New-Answer -State 'failed' -Detail ('{0}: {1}' -f $script:Step, $_.Exception.Message)
    }
    $answer['elevated'] = $caller.Elevated
    $answer['installed'] = $installed
    $answer['local-app-data'] = $local
    $answer['windows-address'] = $facts.Address
    $answer['lowest-mtu'] = $facts.Mtu
    ConvertTo-AsciiJson -Answer $answer
}

function Get-InstalledText {
    $values = Get-RegistryValues -Path 'SOFTWARE\wslmesh'
    if ($values.ContainsKey('installed')) {
        return $values['installed']
    }
    ''
}

function Get-LocalAppData {
    $path = [Environment]::GetFolderPath('LocalApplicationData')
    if ($path -ceq '') {
        return $null
    }
    $path
}

# How the last run of the task ended, for a person; '' where that cannot be told.
function Get-TaskResult {
    param([string] $Sid)
    try {
        $task = Open-ForwardTask -Sid $Sid
        '0x{0:x8}' -f [int] $task.LastTaskResult
    } catch {
        ''
    }
}

function Invoke-Script {
    if ([string] $ExecutionContext.SessionState.LanguageMode -cne 'FullLanguage') {
        # Constrained by policy: no .NET call is allowed, so the answer is fixed text.
        # Write-Host, because what goes through the formatter may be wrapped.
        Write-Host '{"version":1,"state":"failed","detail":"a policy of this machine keeps PowerShell in constrained language mode","elevated":false,"rules":[],"added":0,"removed":0,"kept":0,"conflicts":[],"taken":[],"refused":[],"firewall":null,"installed":null,"local-app-data":null,"guest-address":null,"windows-address":null,"lowest-mtu":null}'
    } else {
        Write-Answer -Text (Get-AnswerText)
    }
    exit 0
}
