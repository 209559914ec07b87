# One run of the task: what it is asked, its start, and what it answers.

# Random, so that an answer to somebody else is not taken for ours.
function New-Ticket {
    Get-Random -Minimum 1 -Maximum 2147483647
}

# Written over in place: the file may be all that the user can write there.
function Write-Selection {
    param([string] $Sid, [string] $Text)
    $path = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid, 'inbox', 'selection.json')
    $bytes = [System.Text.Encoding]::ASCII.GetBytes($Text)
    $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::OpenOrCreate, [System.IO.FileAccess]::Write, [System.IO.FileShare]::None)
    try {
        $stream.SetLength(0)
        $stream.Write($bytes, 0, $bytes.Length)
    } finally {
        $stream.Dispose()
    }
}

function Open-ForwardTask {
    param([string] $Sid)
    $service = New-Object -ComObject 'Schedule.Service'
    [void] $service.Connect()
    $folder = $service.GetFolder('\wslmesh')
    $folder.GetTask('forward-' + $Sid)
}

# By the objects and never by schtasks.exe, whose text is localised.
function Start-ForwardTask {
    param([string] $Sid)
    $task = Open-ForwardTask -Sid $Sid
    [void] $task.Run($null)
}

# The text of the last answer, or '' where there is none that can be read now: the
# task puts a new one in its place at any time.
function Read-TaskAnswer {
    param([string] $Sid)
    $path = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid, 'answer.json')
    $share = [System.IO.FileShare] 'ReadWrite, Delete'
    try {
        $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, $share)
        try {
            $reader = New-Object System.IO.StreamReader($stream, (New-Object System.Text.UTF8Encoding($false)))
            $reader.ReadToEnd()
        } finally {
            $stream.Dispose()
        }
    } catch {
        ''
    }
}

function New-Clock {
    [System.Diagnostics.Stopwatch]::StartNew()
}

function Wait-Moment {
    Start-Sleep -Milliseconds 75
}
