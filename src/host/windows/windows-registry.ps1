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
