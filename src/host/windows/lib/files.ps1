# Files and folders: who may do what with them, how they are read, written and removed.

# Who may do what with our folders and files, in Windows' own notation. None of them
# inherits, so that nothing depends on the folders above.
$OwnSecurity = 'O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)'
$OwnFolderSecurity = 'O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)'

# Users read and run what is there.
$ProgramSecurity = 'O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)'

# Owners that an unelevated program can never be: administrators, the system, and Windows' installer.
$TrustedOwners = @('S-1-5-32-544', 'S-1-5-18', 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464')

# The user reads. Only administrators add a name to a folder of ours or take
# one away: whoever may add files to an empty folder may also turn it into a link.
$FolderSecurity = 'O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;{0})'

# The one file that the user writes: contents and attributes, but neither its name nor its rights (read and
# write, 0x120089 and 0x120116). It is always there, so the user needs no right on the folder.
$SelectionSecurity = 'O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x12019f;;;{0})'

# The provider that is also allowed where only certified ones are (FIPS).
function Get-Hash {
    param([byte[]] $Bytes)
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    [System.BitConverter]::ToString($algorithm.ComputeHash($Bytes)).Replace('-', '').ToLowerInvariant()
}

# A link or a junction in the place of the file or of its folder would make this process, as SYSTEM, read what
# its user chose. Asked before the file is opened and again while it is open; whoever changes it in between
# gains an answer that names nothing of what was read. Bytes beyond ASCII become '?', which no form allows.
function Read-Selection {
    param([string] $Sid)
    $folder = (Get-InstalledFolder) + '\' + $Sid + '\inbox'
    $path = $folder + '\selection.json'
    Assert-PlainFile -Folder $folder -Path $path
    $stream = Invoke-WinShared -Milliseconds 1000 -Body { Open-WinFile -Path $path -Mode 'Open' -Access 'Read' -Share 'Read' }
    try {
        Assert-PlainFile -Folder $folder -Path $path
        Assert-Valid -Value ($stream.Length -le 65536) -Message 'larger than 65536 bytes'
        $memory = New-Object System.IO.MemoryStream
        $stream.CopyTo($memory)
        [System.Text.Encoding]::ASCII.GetString($memory.ToArray())
    } finally {
        $stream.Dispose()
    }
}

function Assert-PlainFile {
    param([string] $Folder, [string] $Path)
    $plain = -not ((Test-WinLink -Path $Folder) -or (Test-WinLink -Path $Path) -or (Test-WinFolder -Path $Path))
    Assert-Valid -Value $plain -Message 'no plain file in a plain folder'
}

# Whether our place under Program Files is free or ours.
function Test-OwnFolder {
    param([string] $Path)
    if (Test-WinFile -Path $Path) { return $false }
    try {
        if (Test-WinFolder -Path $Path) { Assert-WinFolder -Path $Path }
        $true
    } catch {
        # Whatever cannot be found out about it, it is not known to be ours.
        $false
    }
}

# A program that runs can be moved, but neither overwritten nor deleted. Its new file is
# made anew: one that is there already keeps an owner and rights that are not ours.
function Set-WinProgram {
    param([string] $Path, [byte[]] $Bytes)
    Remove-WinFile -Path ($Path + '.new') -Tries 1
    Write-WinFile -Path ($Path + '.new') -Bytes $Bytes
    if ([System.IO.File]::Exists($Path)) { [System.IO.File]::Move($Path, $Path + '.old-' + (New-Ticket)) }
    [System.IO.File]::Move($Path + '.new', $Path)
}

function Clear-Leftovers {
    param([string] $Path)
    foreach ($file in @(Get-WinEntries -Path $Path -Folders $false)) {
        if ($file -cmatch '\.(?:new|old-[0-9]+)\z') {
            try {
                Remove-WinFile -Path $file -Tries 1
            } catch {
                # One that still runs stays until the next call.
            }
        }
    }
}

# A folder that only administrators write, so no link can have been put between.
function Remove-UserFiles {
    param([string] $Path)
    if (-not (Test-WinFolder -Path $Path)) { return }
    Assert-WinFolder -Path $Path
    Remove-Tree -Path $Path -Tries 10
}

function Remove-ProgramFiles {
    param([string] $Path, [string[]] $Names)
    if (-not (Test-WinFolder -Path $Path)) { return }
    Assert-WinFolder -Path $Path
    # Relays that run from our folder would keep their file.
    Stop-WinPrograms -Name 'wslmesh-relay' -Path ($Path + '\wslmesh-relay.exe')
    foreach ($name in $Names) { Remove-WinFile -Path ($Path + '\' + $name) -Tries 1 }
    Clear-Leftovers -Path $Path
}

# Last, and when the lock in it is free again: nothing else may be left.
function Remove-ProgramFolder {
    param([string] $Path)
    if (-not (Test-WinFolder -Path $Path)) { return }
    $lock = $Path + '\sync.lock'
    $left = @(Get-WinEntries -Path $Path -Folders $true) + @(Get-WinEntries -Path $Path -Folders $false | Where-Object { $_ -ne $lock })
    if ($left.Count -gt 0) { return }
    try {
        Remove-WinFile -Path $lock -Tries 1
        Remove-WinFolder -Path $Path
    } catch {
        # Another run holds the lock.
    }
}

# A folder and what is below it. What leads to another place is taken away and not followed.
function Remove-Tree {
    param([string] $Path, [int] $Tries)
    if (-not (Test-WinLink -Path $Path)) {
        foreach ($file in @(Get-WinEntries -Path $Path -Folders $false)) { Remove-WinFile -Path $file -Tries $Tries }
        foreach ($folder in @(Get-WinEntries -Path $Path -Folders $true)) { Remove-Tree -Path $folder -Tries $Tries }
    }
    Remove-WinFolder -Path $Path
}

# Windows is asked, and not the environment, which any program of the user can change for an elevated one too. ''
# where Windows names none.
function Get-WinPath {
    param([string] $Name)
    [Environment]::GetFolderPath($Name)
}

# A name that no other program can guess and take first.
function Get-WinRandomName {
    [System.IO.Path]::GetRandomFileName()
}

function Test-WinFile {
    param([string] $Path)
    [System.IO.File]::Exists($Path)
}

function Test-WinFolder {
    param([string] $Path)
    [System.IO.Directory]::Exists($Path)
}

# Whether what has this name leads to another place.
function Test-WinLink {
    param([string] $Path)
    ([int] [System.IO.File]::GetAttributes($Path) -band [int] [System.IO.FileAttributes]::ReparsePoint) -ne 0
}

function Get-WinEntries {
    param([string] $Path, [bool] $Folders)
    if ($Folders) { return [System.IO.Directory]::GetDirectories($Path) }
    [System.IO.Directory]::GetFiles($Path)
}

function Open-WinFile {
    param([string] $Path, [System.IO.FileMode] $Mode, [System.IO.FileAccess] $Access, [System.IO.FileShare] $Share)
    New-Object System.IO.FileStream($Path, $Mode, $Access, $Share)
}

# Opened once: what is hashed is what is used. The largest file of ours is the relay,
# below 2 MB. In a table, because PowerShell hands over a list byte by byte.
function Read-WinFile {
    param([string] $Path, [string] $Share)
    $stream = Open-WinFile -Path $Path -Mode 'Open' -Access 'Read' -Share $Share
    try {
        if ($stream.Length -gt 33554432) { throw ('{0} is larger than any file of wslmesh; remove it' -f $Path) }
        $memory = New-Object System.IO.MemoryStream
        $stream.CopyTo($memory)
        @{ Bytes = $memory.ToArray() }
    } finally {
        $stream.Dispose()
    }
}

# Its text, or '' where it is not there or cannot be read.
function Read-WinText {
    param([string] $Path)
    try {
        [System.Text.Encoding]::UTF8.GetString((Read-WinFile -Path $Path -Share 'ReadWrite, Delete').Bytes)
    } catch {
        # Windows denies access to one that is just being replaced, too: it says nothing of absence.
        ''
    }
}

# Written over in place: the file may be all that its user can write there.
function Write-WinFile {
    param([string] $Path, [byte[]] $Bytes)
    $stream = Open-WinFile -Path $Path -Mode 'OpenOrCreate' -Access 'Write' -Share 'None'
    try {
        $stream.SetLength(0)
        $stream.Write($Bytes, 0, $Bytes.Length)
    } finally {
        $stream.Dispose()
    }
}

# Appears as a whole: written beside and moved into place. A reader or a scanner that
# holds the old one keeps it for moments only.
function Set-WinText {
    param([string] $Path, [string] $Text)
    $new = $Path + '.new'
    Write-WinFile -Path $new -Bytes ([System.Text.Encoding]::UTF8.GetBytes($Text))
    for ($turn = 1; $true; $turn += 1) {
        try {
            if ([System.IO.File]::Exists($Path)) {
                [System.IO.File]::Replace($new, $Path, [NullString]::Value)
            } else {
                [System.IO.File]::Move($new, $Path)
            }
            return
        } catch {
            if ($turn -ge 20) { throw }
        }
        Wait-Win -Milliseconds 100
    }
}

# A stream to a file that no other process may open, born with an owner and rights.
function New-WinFile {
    param([string] $Path, [System.IO.FileMode] $Mode, [string] $Security)
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $rights = New-Object System.Security.AccessControl.FileSecurity
    $rights.SetSecurityDescriptorSddlForm($Security, $sections)
    New-Object System.IO.FileStream($Path, $Mode, [System.Security.AccessControl.FileSystemRights]::Write,
        [System.IO.FileShare]::None, 4096, [System.IO.FileOptions]::None, $rights)
}

# The user may have marked a file of theirs as read-only, or hold it open for a moment.
# Only a plain file loses the mark: no attribute is written to where a link leads.
function Remove-WinFile {
    param([string] $Path, [int] $Tries)
    for ($turn = 1; [System.IO.File]::Exists($Path); $turn += 1) {
        try {
            if (-not (Test-WinLink -Path $Path)) {
                [System.IO.File]::SetAttributes($Path, [System.IO.FileAttributes]::Normal)
            }
            [System.IO.File]::Delete($Path)
        } catch {
            if ($turn -ge $Tries) {
                throw ('{0}; remove it by hand' -f (Format-Failure -Step ('remove ' + $Path) -Failure $_))
            }
            Wait-Win -Milliseconds 200
        }
    }
}

function Remove-WinFolder {
    param([string] $Path)
    [System.IO.Directory]::Delete($Path)
}

function New-WinFolder {
    param([string] $Path)
    if ([System.IO.File]::Exists($Path)) { throw ('{0} is a file; remove it' -f $Path) }
    [void] [System.IO.Directory]::CreateDirectory($Path)
}

# A folder of ours with exactly these rights. One that was there before us must be a
# plain folder that administrators own: no other account can have planted it.
function Set-WinFolder {
    param([string] $Path, [string] $Security)
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $rights = New-Object System.Security.AccessControl.DirectorySecurity
    $rights.SetSecurityDescriptorSddlForm($Security, $sections)
    if (-not [System.IO.Directory]::Exists($Path)) {
        if ([System.IO.File]::Exists($Path)) { throw ('{0} is a file; remove it' -f $Path) }
        [void] [System.IO.Directory]::CreateDirectory($Path, $rights)
    }
    Assert-WinFolder -Path $Path
    [System.IO.Directory]::SetAccessControl($Path, $rights)
}

function Assert-WinFolder {
    param([string] $Path)
    if (Test-WinLink -Path $Path) { throw ('{0} is a link to another place; remove it' -f $Path) }
    $security = [System.IO.Directory]::GetAccessControl($Path, [System.Security.AccessControl.AccessControlSections]::Owner)
    $owner = [string] $security.GetOwner([System.Security.Principal.SecurityIdentifier]).Value
    if ($TrustedOwners -cnotcontains $owner) {
        throw ('{0} belongs to {1} and not to the administrators; remove it' -f $Path, $owner)
    }
}
