# The registry.

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

function Get-RegistryKeys {
    param([string] $Path)
    $machine = Open-LocalMachine
    try {
        $key = $machine.OpenSubKey($Path)
        if ($null -ne $key) {
            try {
                $key.GetSubKeyNames()
            } finally {
                $key.Dispose()
            }
        }
    } finally {
        $machine.Dispose()
    }
}

# What lies in it stays, and then so does the key: it is somebody's.
function Remove-EmptyKey {
    param([string] $Path)
    $machine = Open-LocalMachine
    try {
        $key = $machine.OpenSubKey($Path)
        if ($null -eq $key) {
            return
        }
        try {
            $count = $key.SubKeyCount + $key.ValueCount
        } finally {
            $key.Dispose()
        }
        if ($count -eq 0) {
            $machine.DeleteSubKey($Path, $false)
        }
    } finally {
        $machine.Dispose()
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
