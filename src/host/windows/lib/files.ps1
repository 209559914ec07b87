# Files and folders: who may do what with them, how they are read, written and removed.

# Who may do what with our folders and files, in Windows' own notation. None of them
# inherits, so that nothing depends on what stands above.
#
# Owners that an unelevated program can never be: administrators, the system, and
# Windows' installer.
$TrustedOwners = @('S-1-5-32-544', 'S-1-5-18', 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464')

# Users read and run what is there.
$ProgramSecurity = 'O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)'

# The user reads. Nobody but administrators adds a name to a folder of ours or takes
# one away: whoever may add files to an empty folder may also turn it into a link.
function Get-FolderSecurity {
    param([string] $Sid)
    'O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;{0})' -f $Sid
}

# The one file that the user writes: contents and attributes, but neither its name nor
# its rights (read and write, 0x120089 and 0x120116). It is always there, so the user
# needs no right on the folder.
function Get-SelectionSecurity {
    param([string] $Sid)
    'O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x12019f;;;{0})' -f $Sid
}

# A link or a junction in the place of the file or of its folder would make this
# process, as SYSTEM, read what its user chose. Asked before the file is opened and
# again while it is open; whoever changes it in between gains an answer that names
# nothing of what was read. Bytes beyond ASCII become '?', which no form allows.
function Read-Selection {
    param([string] $Sid)
    $folder = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid, 'inbox')
    $path = [System.IO.Path]::Combine($folder, 'selection.json')
    Assert-PlainFile -Folder $folder -Path $path
    $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Read)
    try {
        Assert-PlainFile -Folder $folder -Path $path
        if ($stream.Length -gt 65536) {
            throw (New-InvalidRequest -Message 'selection: larger than 65536 bytes')
        }
        $bytes = New-Object byte[] 65536
        $length = 0
        do {
            $read = $stream.Read($bytes, $length, $bytes.Length - $length)
            $length += $read
        } while ($read -gt 0)
        [System.Text.Encoding]::ASCII.GetString($bytes, 0, $length)
    } finally {
        $stream.Dispose()
    }
}

function Assert-PlainFile {
    param([string] $Folder, [string] $Path)
    $link = [int] [System.IO.FileAttributes]::ReparsePoint
    $directory = [int] [System.IO.FileAttributes]::Directory
    $above = [int] [System.IO.File]::GetAttributes($Folder)
    $own = [int] [System.IO.File]::GetAttributes($Path)
    if ((($above -band $link) -ne 0) -or (($own -band ($link -bor $directory)) -ne 0)) {
        throw (New-InvalidRequest -Message 'selection: no plain file in a plain folder')
    }
}

# The largest file of ours is the relay, below 2 MB. Opened once: what is hashed is
# what is used. In a table, because PowerShell hands over a list byte by byte.
function Read-FileBytes {
    param([string] $Path)
    $stream = New-Object System.IO.FileStream($Path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Read)
    try {
        if ($stream.Length -gt 33554432) {
            throw ('{0} is larger than any file of wslmesh' -f $Path)
        }
        $memory = New-Object System.IO.MemoryStream
        $stream.CopyTo($memory)
        @{ Bytes = $memory.ToArray() }
    } finally {
        $stream.Dispose()
    }
}

# The provider that is also allowed where only certified ones are (FIPS).
function Get-Hash {
    param([byte[]] $Bytes)
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    try {
        [System.BitConverter]::ToString($algorithm.ComputeHash($Bytes)).Replace('-', '').ToLowerInvariant()
    } finally {
        $algorithm.Dispose()
    }
}

# A folder of ours with exactly these rights. One that was there before us must be a
# plain folder that administrators own: nobody else can have planted it.
function Set-OwnFolder {
    param([string] $Path, [string] $Security)
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $rights = New-Object System.Security.AccessControl.DirectorySecurity
    $rights.SetSecurityDescriptorSddlForm($Security, $sections)
    if (-not [System.IO.Directory]::Exists($Path)) {
        if ([System.IO.File]::Exists($Path)) {
            throw ('{0} is a file; remove it' -f $Path)
        }
        [void] [System.IO.Directory]::CreateDirectory($Path, $rights)
    }
    Assert-OwnFolder -Path $Path
    [System.IO.Directory]::SetAccessControl($Path, $rights)
}

function Assert-OwnFolder {
    param([string] $Path)
    $attributes = [int] [System.IO.File]::GetAttributes($Path)
    if (($attributes -band [int] [System.IO.FileAttributes]::ReparsePoint) -ne 0) {
        throw ('{0} is a link to another place; remove it' -f $Path)
    }
    $security = [System.IO.Directory]::GetAccessControl($Path, [System.Security.AccessControl.AccessControlSections]::Owner)
    $owner = [string] $security.GetOwner([System.Security.Principal.SecurityIdentifier]).Value
    if ($TrustedOwners -cnotcontains $owner) {
        throw ('{0} belongs to {1} and not to the administrators; remove it' -f $Path, $owner)
    }
}

# Whether our place under Program Files is free or ours.
function Test-OwnFolder {
    param([string] $Path)
    try {
        if ([System.IO.File]::Exists($Path)) {
            return $false
        }
        if ([System.IO.Directory]::Exists($Path)) {
            Assert-OwnFolder -Path $Path
        }
        $true
    } catch {
        $false
    }
}

# The user may have marked a file of theirs as read-only, or hold it open for a moment.
# Only a plain file loses the mark: no attribute is written to where a link leads.
function Remove-File {
    param([string] $Path)
    $link = [int] [System.IO.FileAttributes]::ReparsePoint
    for ($turn = 1; [System.IO.File]::Exists($Path); $turn += 1) {
        try {
            if (([int] [System.IO.File]::GetAttributes($Path) -band $link) -eq 0) {
                [System.IO.File]::SetAttributes($Path, [System.IO.FileAttributes]::Normal)
            }
            [System.IO.File]::Delete($Path)
        } catch {
            if ($turn -ge 10) {
                throw ('{0} cannot be removed ({1}); close the program that holds it open, or remove it by hand' -f $Path, $_.Exception.GetBaseException().Message)
            }
            [System.Threading.Thread]::Sleep(200)
        }
    }
}

# Made anew each time: whatever the user may have made of it (a reparse point of some
# kind, a second name elsewhere) goes, and with it nothing that it leads to.
function Set-SelectionFile {
    param([string] $Path, [string] $Security)
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $rights = New-Object System.Security.AccessControl.FileSecurity
    $rights.SetSecurityDescriptorSddlForm($Security, $sections)
    Remove-File -Path $Path
    $stream = New-Object System.IO.FileStream($Path, [System.IO.FileMode]::CreateNew,
        [System.Security.AccessControl.FileSystemRights]::Write, [System.IO.FileShare]::None,
        4096, [System.IO.FileOptions]::None, $rights)
    $stream.Dispose()
}

# A program that runs can be moved, but neither overwritten nor deleted.
function Set-ProgramFile {
    param([string] $Path, [byte[]] $Bytes)
    $new = $Path + '.new'
    [System.IO.File]::Delete($new)
    [System.IO.File]::WriteAllBytes($new, $Bytes)
    if ([System.IO.File]::Exists($Path)) {
        [System.IO.File]::Move($Path, $Path + '.old-' + [DateTimeOffset]::UtcNow.Ticks)
    }
    [System.IO.File]::Move($new, $Path)
}

function Set-TextFile {
    param([string] $Path, [string] $Text)
    $new = $Path + '.new'
    [System.IO.File]::Delete($new)
    [System.IO.File]::WriteAllText($new, $Text)
    [System.IO.File]::Delete($Path)
    [System.IO.File]::Move($new, $Path)
}

# Earlier versions of programs; one that still runs stays until the next call.
function Clear-Leftovers {
    param([string] $Path)
    foreach ($file in [System.IO.Directory]::GetFiles($Path)) {
        if ($file -cmatch '\.(?:new|old-[0-9]+)\z') {
            try {
                [System.IO.File]::Delete($file)
            } catch {
                $null = $_
            }
        }
    }
}

# Folders that only administrators write, so no link can have been put between.
# Nothing is followed all the same: names first, folders last and only when empty.
function Remove-UserFiles {
    param([string] $Path)
    foreach ($folder in @(($Path + '\inbox'), $Path)) {
        if ([System.IO.Directory]::Exists($folder)) {
            Assert-OwnFolder -Path $folder
            foreach ($file in [System.IO.Directory]::GetFiles($folder)) {
                Remove-File -Path $file
            }
            [System.IO.Directory]::Delete($folder)
        }
    }
}

# Relays that run from our folder would keep their file.
function Stop-Relays {
    param([string] $Program)
    foreach ($process in [System.Diagnostics.Process]::GetProcessesByName('wslmesh-relay')) {
        try {
            if ($process.MainModule.FileName -eq $Program) {
                $process.Kill()
                [void] $process.WaitForExit(3000)
            }
        } catch {
            # It ended by itself, or is none of ours.
            $null = $_
        }
    }
}

function Remove-ProgramFiles {
    param([string] $Path, [string[]] $Names)
    if (-not [System.IO.Directory]::Exists($Path)) {
        return
    }
    Assert-OwnFolder -Path $Path
    Stop-Relays -Program ($Path + '\wslmesh-relay.exe')
    foreach ($name in $Names) {
        [System.IO.File]::Delete($Path + '\' + $name)
    }
    Clear-Leftovers -Path $Path
}

# Last, and when the lock in it is free again: nothing else may be left. Somebody who
# has taken the lock since keeps the folder, which holds nothing more.
function Remove-ProgramFolder {
    param([string] $Path)
    if (-not [System.IO.Directory]::Exists($Path)) {
        return
    }
    $lock = $Path + '\sync.lock'
    $left = @([System.IO.Directory]::GetFileSystemEntries($Path) | Where-Object { $_ -ne $lock })
    if ($left.Count -gt 0) {
        return
    }
    try {
        [System.IO.File]::Delete($lock)
        [System.IO.Directory]::Delete($Path)
    } catch {
        $null = $_
    }
}
