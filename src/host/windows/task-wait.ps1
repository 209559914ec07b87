# The wait for the answer of the task.

# Whether a text is the task's answer to this ticket.
function Test-Ticket {
    param([string] $Text, [int] $Ticket)
    $Text.StartsWith(('{"version":1,"ticket":' + $Ticket + ','), [System.StringComparison]::Ordinal)
}

# The text of the answer with our ticket, or ''.
function Wait-Answer {
    param([string] $Sid, [int] $Ticket, $Clock)
    do {
        $text = Read-TaskAnswer -Sid $Sid
        if (Test-Ticket -Text $text -Ticket $Ticket) {
            return $text
        }
        Wait-Moment
    } while ($Clock.ElapsedMilliseconds -lt 10000)
    ''
}
