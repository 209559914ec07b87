# The port proxy and the registry.

function Test-ProxyService {
    # The name of the enumeration's member is never localised.
    $service = Get-Service -Name 'iphlpsvc'
    ([string] $service.Status) -ceq 'Running'
}

# The 64-bit view is the only one that the service and netsh use.
function Open-LocalMachine {
    [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]::LocalMachine, [Microsoft.Win32.RegistryView]::Registry64)
}

# All values of a key as text; a key that does not exist has none. The cmdlets for
# the registry would take '*' in a name for a wildcard.
function Get-RegistryValues {
    param([string] $Path)
    $values = @{}
    $machine = Open-LocalMachine
    try {
        $key = $machine.OpenSubKey($Path)
        if ($null -ne $key) {
            try {
                foreach ($name in $key.GetValueNames()) {
                    $values[$name] = [string] $key.GetValue($name, '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
                }
            } finally {
                $key.Dispose()
            }
        }
    } finally {
        $machine.Dispose()
    }
    $values
}

function Get-PortProxyValues {
    Get-RegistryValues -Path 'SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp'
}

function Get-LedgerValues {
    param([string] $Sid)
    Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid + '\ledger')
}

# Makes the ledger New where it was Old. 'tcp/' is written before 'pending/': a
# pending target that has become true must be on record before the next replaces it.
function Set-LedgerValues {
    param([string] $Sid, [hashtable] $Old, [hashtable] $New)
    $write = @($New.Keys | Where-Object { $Old[$_] -cne $New[$_] } | Sort-Object -Descending)
    $delete = @($Old.Keys | Where-Object { -not $New.ContainsKey($_) })
    if ($write.Count + $delete.Count -eq 0) {
        return
    }
    $machine = Open-LocalMachine
    try {
        $key = $machine.CreateSubKey('SOFTWARE\wslmesh\' + $Sid + '\ledger')
        try {
            foreach ($name in $write) {
                $key.SetValue($name, [string] $New[$name], [Microsoft.Win32.RegistryValueKind]::String)
            }
            foreach ($name in $delete) {
                $key.DeleteValue($name, $false)
            }
            # Ledger and rules lie in different hives: without this a power cut
            # could keep the rule and lose the line that says whose it is.
            $key.Flush()
        } finally {
            $key.Dispose()
        }
    } finally {
        $machine.Dispose()
    }
}

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
