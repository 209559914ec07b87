# Removing what was written. All of it may be gone already.

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

function Set-RegistryText {
    param([string] $Path, [string] $Name, [string] $Value)
    $machine = Open-LocalMachine
    try {
        $key = $machine.CreateSubKey($Path)
        try {
            $key.SetValue($Name, $Value, [Microsoft.Win32.RegistryValueKind]::String)
            $key.Flush()
        } finally {
            $key.Dispose()
        }
    } finally {
        $machine.Dispose()
    }
}

function Remove-RegistryText {
    param([string] $Path, [string] $Name)
    $machine = Open-LocalMachine
    try {
        $key = $machine.OpenSubKey($Path, $true)
        if ($null -ne $key) {
            try {
                $key.DeleteValue($Name, $false)
            } finally {
                $key.Dispose()
            }
        }
    } finally {
        $machine.Dispose()
    }
}

function Remove-RegistryTree {
    param([string] $Sid)
    $machine = Open-LocalMachine
    try {
        $machine.DeleteSubKeyTree('SOFTWARE\wslmesh\' + $Sid, $false)
    } finally {
        $machine.Dispose()
    }
}

function Remove-PortProxyValues {
    param([string[]] $Names)
    $machine = Open-LocalMachine
    try {
        $key = $machine.OpenSubKey('SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp', $true)
        if ($null -ne $key) {
            try {
                foreach ($name in $Names) {
                    $key.DeleteValue($name, $false)
                }
                $key.Flush()
            } finally {
                $key.Dispose()
            }
        }
    } finally {
        $machine.Dispose()
    }
}
