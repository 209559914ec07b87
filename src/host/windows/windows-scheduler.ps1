# The task scheduler, through its COM interface: its cmdlets go through WMI.

function Connect-Scheduler {
    $scheduler = New-Object -ComObject 'Schedule.Service'
    [void] $scheduler.Connect()
    $scheduler
}
