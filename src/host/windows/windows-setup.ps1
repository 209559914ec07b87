# ---- Windows ---------------------------------------------------------------
# The window, and folders and files under Program Files.

function Write-Line {
    param([string] $Text)
    try {
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    } catch {
        # Refused where no console is attached.
        $null = $_
    }
    [Console]::Out.WriteLine($Text)
}

function Test-NoConsole {
    [Console]::IsInputRedirected
}

function Read-Answer {
    [Console]::Out.Write('Type yes and press Enter to agree. Anything else changes nothing: ')
    $line = [Console]::In.ReadLine()
    if ($null -eq $line) {
        return ''
    }
    $line.Trim().ToLowerInvariant()
}

# Long enough to read the last line before the window closes.
function Wait-Moment {
    if (-not [Console]::IsInputRedirected) {
        [System.Threading.Thread]::Sleep(2000)
    }
}

# The name under which the person knows the account; the SID is shown beside it.
function Get-UserName {
    param([string] $Sid)
    try {
        $account = New-Object System.Security.Principal.SecurityIdentifier($Sid)
        [string] $account.Translate([System.Security.Principal.NTAccount]).Value
    } catch {
        'a user whose name Windows does not tell'
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
