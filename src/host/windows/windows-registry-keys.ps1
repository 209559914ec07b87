# Names of keys in the registry.

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
