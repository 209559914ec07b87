# One elevated sync at a time, whoever's rules it is about: they share one table.

# Where something is installed, a file in a folder that administrators alone write, which
# nobody else may open; elsewhere a name, which any program could hold.
function Enter-SyncLock {
    $folder = Get-InstalledFolder
    if ([System.IO.Directory]::Exists($folder)) {
        return Enter-FileLock -Path ([System.IO.Path]::Combine($folder, 'sync.lock'))
    }
    Enter-Lock -Name 'Global\wslmesh-portproxy'
}

# Waits as long as Enter-Lock does. Windows closes the file of a holder that is killed.
# 0x80070020: somebody has it open (ERROR_SHARING_VIOLATION).
function Enter-FileLock {
    param([string] $Path)
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $security = New-Object System.Security.AccessControl.FileSecurity
    $security.SetSecurityDescriptorSddlForm('O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)', $sections)
    $clock = [System.Diagnostics.Stopwatch]::StartNew()
    while ($true) {
        try {
            return New-Object System.IO.FileStream($Path, [System.IO.FileMode]::OpenOrCreate,
                [System.Security.AccessControl.FileSystemRights]::Write, [System.IO.FileShare]::None,
                4096, [System.IO.FileOptions]::None, $security)
        } catch {
            $cause = $_.Exception.GetBaseException()
            if ([int] $cause.HResult -ne -2147024864) {
                throw ('the lock {0} cannot be taken ({1})' -f $Path, $cause.Message)
            }
        }
        if ($clock.ElapsedMilliseconds -ge 5000) {
            throw 'another sync still runs (waited 5 s)'
        }
        Start-Sleep -Milliseconds 100
    }
}
