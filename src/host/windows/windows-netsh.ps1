# Changing the port proxy.

# netsh takes its orders from a file, whatever their number. This process is
# elevated and its %TEMP% belongs to the user: a program of the user without
# elevation could rewrite a file there before netsh, elevated, reads it. So the
# file lies in Windows' own Temp, must not exist before, and is born with an access
# list (and an owner) that leaves out everyone but administrators and the system.
function Invoke-NetshScript {
    param([string[]] $Lines)
    $bytes = [System.Text.Encoding]::ASCII.GetBytes(($Lines -join "`r`n") + "`r`n")
    $folder = [System.IO.Path]::Combine([Environment]::GetFolderPath('Windows'), 'Temp')
    $path = [System.IO.Path]::Combine($folder, 'wslmesh-' + [System.IO.Path]::GetRandomFileName())
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
