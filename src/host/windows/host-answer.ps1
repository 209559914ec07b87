# What goes back as JSON, and the words for what Windows or a person refused.

function New-HostAnswer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1
        'state' = $State
        'detail' = $Detail
        'installed' = $null
        'policy' = $null
        'user' = $null
        'elevated' = $false
        'over-the-shoulder' = $false
        'other-users' = @()
        'done' = @()
        'checks' = @()
    }
}

function New-Outcome {
    param([string] $State, $Detail)
    @{ State = $State; Detail = $Detail; Done = @(); Administrator = $null }
}

# Windows did not start the program. The numbers are those of winerror.h; the text
# that Windows has for them is localised.
function Get-StartOutcome {
    param([int] $Code, [hashtable] $Caller)
    if ((-not $Caller.Administrator) -and $Caller.StandardDenied -and (@(5, 1223, 1260) -contains $Code)) {
        return New-Outcome -State 'forbidden' -Detail ('a policy of this machine refuses every request for administrator rights from an account that is no administrator ({0}); install from an administrator''s account' -f $Code)
    }
    if ($Code -eq 1223) {
        if ($Caller.Administrator) {
            return New-Outcome -State 'declined' -Detail 'the question for administrator rights was declined, or not answered in time; a question that waits shows as a blinking shield in the task bar'
        }
        return New-Outcome -State 'declined' -Detail 'this account is no administrator, so Windows asked for the name and the password of one, and that was declined or not answered in time'
    }
    if (($Code -ge 4550) -and ($Code -le 4599)) {
        return New-Outcome -State 'forbidden' -Detail ('Smart App Control or another code integrity policy of this machine keeps PowerShell from being started with administrator rights ({0})' -f $Code)
    }
    if (@(786, 1260, 1277) -contains $Code) {
        return New-Outcome -State 'forbidden' -Detail ('a group policy of this machine (AppLocker or software restriction) keeps PowerShell from being started with administrator rights ({0})' -f $Code)
    }
    if ($Code -eq 5) {
        return New-Outcome -State 'forbidden' -Detail 'Windows denies access to PowerShell with administrator rights (5)'
    }
    New-Outcome -State 'failed' -Detail ('Windows did not start PowerShell with administrator rights (error {0})' -f $Code)
}

# The setup ran and left no result of its own: its exit code is all there is.
function Get-ExitOutcome {
    param($Code)
    if ($null -eq $Code) {
        return New-Outcome -State 'failed' -Detail 'the elevated setup ended without a result'
    }
    switch ($Code) {
        20 { return New-Outcome -State 'refused' -Detail 'the question in the elevated window was not answered with yes' }
        (-1073741510) { return New-Outcome -State 'refused' -Detail 'the elevated window was closed' }
        1 { return New-Outcome -State 'constrained' -Detail 'a policy of this machine keeps PowerShell in constrained language mode with administrator rights too' }
        21 { return New-Outcome -State 'verification-failed' -Detail 'a file was changed between its check and its use; another program of this user may be at work' }
        22 { return New-Outcome -State 'failed' -Detail 'the setup was started without administrator rights: user account control is off, and this account is no administrator; install from an administrator''s account' }
        24 { return New-Outcome -State 'other-user-version' -Detail 'another version is installed for other users of this machine' }
        25 { return New-Outcome -State 'refused' -Detail 'the question in the elevated window was answered too late; nothing was changed' }
        26 { return New-Outcome -State 'failed' -Detail 'the folder wslmesh under Program Files is a link, a file or somebody else''s; remove it, then install again' }
        27 { return New-Outcome -State 'failed' -Detail 'another sync was running for more than 5 s; nothing was changed, so ask for it again' }
        default { return New-Outcome -State 'failed' -Detail ('the elevated setup ended with code {0} and without a result' -f $Code) }
    }
}

# The result file counts when it answers this order; an older one says nothing.
function Get-ResultOutcome {
    param($Text, [int] $Ticket)
    if ($null -eq $Text) {
        return $null
    }
    try {
        $result = ConvertFrom-RequestText -Text $Text -Place 'result'
        Assert-Fields -Object $result -Place 'result' -Names @('version', 'ticket', 'state', 'detail', 'administrator', 'done')
        if (($result.'ticket' -isnot [int]) -or ($result.'ticket' -ne $Ticket)) {
            return $null
        }
        [void] (ConvertTo-Choice -Value $result.'state' -Choices @('installed', 'removed', 'failed') -Place 'state')
        $outcome = New-Outcome -State $result.'state' -Detail $result.'detail'
        $outcome.Done = @($result.'done')
        $outcome.Administrator = $result.'administrator'
        $outcome
    } catch [System.IO.InvalidDataException] {
        $null
    }
}

function Get-RunOutcome {
    param([hashtable] $Run, $ResultText, [int] $Ticket, [hashtable] $Caller)
    if (-not $Run.Started) {
        return Get-StartOutcome -Code $Run.Code -Caller $Caller
    }
    if (-not $Run.Ended) {
        return New-Outcome -State 'refused' -Detail 'the question in the elevated window was not answered in time; a later answer changes nothing'
    }
    $outcome = Get-ResultOutcome -Text $ResultText -Ticket $Ticket
    if ($null -ne $outcome) {
        return $outcome
    }
    if ($Run.Code -eq 0) {
        # An uninstall that left nothing has no place for a result: the caller looks.
        return New-Outcome -State 'removed' -Detail $null
    }
    Get-ExitOutcome -Code $Run.Code
}

# The fields that every answer has in the same way.
function Add-Situation {
    param([System.Collections.IDictionary] $Answer, [hashtable] $Caller, [hashtable] $Situation, [hashtable] $Places)
    $Answer['user'] = $Caller.Sid
    $Answer['elevated'] = $Caller.Elevated
    $Answer['other-users'] = @($Situation.Others)
    $Answer['policy'] = $Situation.Policy
    if ($null -ne $Situation.Installed) {
        $relay = $null
        if ($null -ne $Situation.Hashes['wslmesh-relay.exe']) {
            $relay = $Places.Program + '\wslmesh-relay.exe'
        }
        $Answer['installed'] = [ordered] @{
            'version' = $Situation.Installed.Version
            'contract' = $Situation.Installed.Contract
            'relay' = $relay
        }
    }
    $Answer
}
