# Keys of ours that nothing is left in.

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
