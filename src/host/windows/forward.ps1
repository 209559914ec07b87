# The order of events of the task.

# The guest's address, which only the port proxy needs: its user may have no WSL that
# runs, and forwards must be withdrawn all the same.
function Find-Guest {
    param([string] $Sid, [string] $Mode)
    if ($Mode -ceq 'mirrored') {
        return @{ Address = $null; Problem = $null }
    }
    $script:Step = 'read what WSL has on record'
    $network = Get-GuestNetwork
    Select-Guest -Address (Get-UserGuestAddress -Sid $Sid) -Network $network['NatNetwork'] -Gateway $network['NatGatewayIpAddress']
}

# Nothing is changed where the guest is not known: the rules that stand may be right.
function New-UnknownGuestAnswer {
    param([string] $Problem, [string] $Sid)
    $table = Read-Table -Wanted ([ordered] @{}) -Sid $Sid
    $answer = New-StandingAnswer -State 'guest-address-unknown' -Detail $Problem -Plan $table.Plan -Rules $table.Rules
    $answer['elevated'] = $true
    $answer
}

function Invoke-Selection {
    param([string] $Text, [string] $Sid)
    $script:Step = 'check the selection'
    $selection = ConvertTo-Selection -Text $Text
    $script:Step = 'read the policy'
    $policy = ConvertTo-AgreedPolicy -Text (Get-PolicyText -Sid $Sid)
    $granted = Select-Granted -Policy $policy -Entries $selection.Entries
    $guest = Find-Guest -Sid $Sid -Mode $selection.Mode
    $wanted = Get-Wanted -Forwards $granted.Forwards -Guest $guest.Address
    if (($null -eq $guest.Address) -and ($wanted.Count -gt 0)) {
        $answer = New-UnknownGuestAnswer -Problem $guest.Problem -Sid $Sid
    } else {
        $answer = Sync-Forwards -Forwards $granted.Forwards -Guest $guest.Address -Sid $Sid -Profiles $policy.Profiles
    }
    $answer['guest-address'] = $guest.Address
    $answer['refused'] = @($granted.Refused)
    $answer
}

# The ticket comes second, so that who waits can tell by the first characters whose
# answer it is.
function ConvertTo-TaskAnswer {
    param([System.Collections.IDictionary] $Answer, [int] $Ticket)
    $told = [ordered] @{ 'version' = 1; 'ticket' = $Ticket }
    foreach ($name in $Answer.Keys) {
        if ($name -cne 'version') {
            $told[$name] = $Answer[$name]
        }
    }
    ConvertTo-AsciiJson -Answer $told
}

# Starts are queued, so a second selection waits for its own run; the lock is for runs
# of another user's task.
function Get-TaskText {
    param([string] $Sid)
    $ticket = 0
    try {
        $script:Step = 'read the selection'
        $text = Read-Selection -Sid $Sid
        $ticket = Find-Ticket -Text $text
        $script:Step = 'wait for an earlier sync to end'
        $lock = Enter-SyncLock
        try {
            $answer = Invoke-Selection -Text $text -Sid $Sid
        } finally {
            Exit-Lock -Lock $lock
        }
    } catch [System.IO.InvalidDataException] {
        $answer = New-Answer -State 'invalid-request' -Detail $_.Exception.Message
    } catch {
        $answer = New-Answer -State 'failed' -Detail ('{0}: {1}' -f $script:Step, $_.Exception.Message)
    }
    $answer['elevated'] = $true
    ConvertTo-TaskAnswer -Answer $answer -Ticket $ticket
}
