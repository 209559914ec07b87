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
