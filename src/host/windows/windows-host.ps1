# Files of the user, and the start of the elevated setup.

# Where this script lies, with the files that belong to it.
function Get-SourceFolder {
    $PSScriptRoot
}

function Get-Ticket {
    (New-Object System.Random).Next(1, 2147483647)
}

function ConvertTo-Bytes {
    param([string] $Text)
    @{ Bytes = [System.Text.Encoding]::UTF8.GetBytes($Text) }
}

# Wide: two bytes a character, as PowerShell wants a command.
function ConvertTo-Base64 {
    param([string] $Text, [bool] $Wide)
    if ($Wide) {
        return [System.Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes($Text))
    }
    [System.Convert]::ToBase64String([System.Text.Encoding]::UTF8.GetBytes($Text))
}

function Test-Folder {
    param([string] $Path)
    [System.IO.Directory]::Exists($Path)
}

# $null where the file is not there, or not readable.
function Get-FileHashText {
    param([string] $Path)
    if (-not [System.IO.File]::Exists($Path)) {
        return $null
    }
    try {
        Get-Hash -Bytes (Read-FileBytes -Path $Path).Bytes
    } catch {
        $null
    }
}

function Read-SmallFile {
    param([string] $Path)
    if (-not [System.IO.File]::Exists($Path)) {
        return $null
    }
    try {
        [System.Text.Encoding]::UTF8.GetString((Read-FileBytes -Path $Path).Bytes)
    } catch {
        $null
    }
}

function Write-FileBytes {
    param([string] $Path, [byte[]] $Bytes)
    [System.IO.File]::WriteAllBytes($Path, $Bytes)
}

# A place for a call with administrator rights: a name that nobody can guess, and so
# nobody can take before it.
function Get-PrivatePath {
    $windows = [Environment]::GetFolderPath('Windows')
    $windows + '\Temp\wslmesh-' + [System.IO.Path]::GetRandomFileName()
}

# Private: the folder must not be there before, and is born with an access list (and an
# owner) that leaves out everyone but administrators and the system.
function Reset-Staging {
    param([string] $Path, [bool] $Private)
    if (-not $Private) {
        Clear-Staging -Path $Path
        [void] [System.IO.Directory]::CreateDirectory($Path)
        return
    }
    if ([System.IO.Directory]::Exists($Path) -or [System.IO.File]::Exists($Path)) {
        throw ('{0} is there already' -f $Path)
    }
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $rights = New-Object System.Security.AccessControl.DirectorySecurity
    $rights.SetSecurityDescriptorSddlForm('O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)', $sections)
    [void] [System.IO.Directory]::CreateDirectory($Path, $rights)
    $owner = [System.IO.Directory]::GetAccessControl($Path, [System.Security.AccessControl.AccessControlSections]::Owner).GetOwner([System.Security.Principal.SecurityIdentifier])
    if ([string] $owner.Value -cne 'S-1-5-32-544') {
        throw ('{0} belongs to {1} and not to the administrators' -f $Path, $owner.Value)
    }
}

# By the names of what was put there. A leftover is replaced by the next call, so a
# failure here spoils nothing.
function Clear-Staging {
    param([string] $Path)
    try {
        if ([System.IO.Directory]::Exists($Path)) {
            foreach ($name in @('setup.ps1', 'order.json') + $InstalledFiles) {
                [System.IO.File]::Delete($Path + '\' + $name)
            }
            [System.IO.Directory]::Delete($Path)
        }
    } catch {
        $null = $_
    }
}

# A folder and what is below it. What leads to another place is taken away and not
# followed.
function Remove-Tree {
    param([string] $Path)
    $attributes = [int] [System.IO.File]::GetAttributes($Path)
    if (($attributes -band [int] [System.IO.FileAttributes]::ReparsePoint) -eq 0) {
        foreach ($file in [System.IO.Directory]::GetFiles($Path)) {
            [System.IO.File]::Delete($file)
        }
        foreach ($folder in [System.IO.Directory]::GetDirectories($Path)) {
            Remove-Tree -Path $folder
        }
    }
    [System.IO.Directory]::Delete($Path)
}

# The user's own folder, without administrator rights. Words for what was done.
function Remove-UserFolder {
    param([string] $Path)
    if (-not [System.IO.Directory]::Exists($Path)) {
        return
    }
    try {
        Remove-Tree -Path $Path
        'the folder {0}' -f $Path
    } catch {
        'not removed: the folder {0} ({1}); it holds no rights and no rules' -f $Path, $_.Exception.Message
    }
}

# The number by which Windows says why a program did not start; 0 for another cause.
function Get-NativeCode {
    param([System.Exception] $Exception)
    $cause = $Exception
    while ($null -ne $cause) {
        if ($cause -is [System.ComponentModel.Win32Exception]) {
            return $cause.NativeErrorCode
        }
        $cause = $cause.InnerException
    }
    0
}

function New-SetupStart {
    param([string] $Loader)
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = [Environment]::SystemDirectory + '\WindowsPowerShell\v1.0\powershell.exe'
    $start.Arguments = '-NoProfile -ExecutionPolicy Bypass -EncodedCommand ' + $Loader
    $start.WorkingDirectory = [Environment]::SystemDirectory
    $start
}

# The exit code of a process of another rights' level is readable on Windows 10; where
# it is not, the result file speaks alone.
function Wait-Setup {
    param([System.Diagnostics.Process] $Process, [long] $Milliseconds)
    $limit = [int] [Math]::Max(1000, $Milliseconds)
    if (-not $Process.WaitForExit($limit)) {
        return @{ Started = $true; Ended = $false; Code = $null }
    }
    $code = $null
    try {
        $code = $Process.ExitCode
    } catch {
        $null = $_
    }
    @{ Started = $true; Ended = $true; Code = $code }
}

# A window of its own, in which the person is asked. Raise: Windows asks for
# administrator rights first, and this call waits for that.
function Start-Elevated {
    param([string] $Loader, [bool] $Raise, [int] $Seconds)
    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    $start = New-SetupStart -Loader $Loader
    $start.UseShellExecute = $true
    if ($Raise) {
        $start.Verb = 'runas'
    }
    try {
        $process = [System.Diagnostics.Process]::Start($start)
    } catch {
        $code = Get-NativeCode -Exception $_.Exception
        if ($code -eq 0) {
            throw
        }
        return @{ Started = $false; Ended = $false; Code = $code }
    }
    Wait-Setup -Process $process -Milliseconds ($Seconds * 1000 - $watch.ElapsedMilliseconds)
}

# For a caller that has administrator rights and agreed already: no window. The
# setup takes that agreement only where its standard input is no console.
function Start-Agreed {
    param([string] $Loader, [int] $Seconds)
    $start = New-SetupStart -Loader $Loader
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    # Read while it runs: a full pipe would stop it. What it says is for a window.
    [void] $process.StandardOutput.ReadToEndAsync()
    [void] $process.StandardError.ReadToEndAsync()
    Wait-Setup -Process $process -Milliseconds ($Seconds * 1000)
}
