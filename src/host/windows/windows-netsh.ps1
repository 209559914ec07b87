# Changing the port proxy.

# The folder of the user below Program Files, which administrators alone write: a file
# that a run leaves there because it is stopped is replaced by the next, and goes with an
# uninstall. Where nothing is installed Windows' own Temp, under a random name.
function Get-NetshPath {
    param([string] $Sid)
    $own = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid)
    if ([System.IO.Directory]::Exists($own)) {
        return [System.IO.Path]::Combine($own, 'netsh.txt')
    }
    [System.IO.Path]::Combine([Environment]::GetFolderPath('Windows'), 'Temp', 'wslmesh-' + [System.IO.Path]::GetRandomFileName())
}

# netsh takes its orders from a file, whatever their number. This process is
# elevated and its %TEMP% belongs to the user: a program of the user without
# elevation could rewrite a file there before netsh, elevated, reads it. So the file is
# born with an access list (and an owner) that leaves out everyone but administrators
# and the system, and must not exist before.
function Invoke-NetshScript {
    param([string[]] $Lines, [string] $Sid)
    $bytes = [System.Text.Encoding]::ASCII.GetBytes(($Lines -join "`r`n") + "`r`n")
    $path = Get-NetshPath -Sid $Sid
    [System.IO.File]::Delete($path)
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $security = New-Object System.Security.AccessControl.FileSecurity
    $security.SetSecurityDescriptorSddlForm('O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)', $sections)
    $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::CreateNew,
        [System.Security.AccessControl.FileSystemRights]::Write, [System.IO.FileShare]::None,
        4096, [System.IO.FileOptions]::None, $security)
    try {
        try {
            $stream.Write($bytes, 0, $bytes.Length)
        } finally {
            $stream.Dispose()
        }
        $netsh = [System.IO.Path]::Combine([Environment]::SystemDirectory, 'netsh.exe')
        # Its text is localised and its exit code says little; the registry is read back.
        & $netsh '-f' $path | Out-Null
    } finally {
        [System.IO.File]::Delete($path)
    }
}
