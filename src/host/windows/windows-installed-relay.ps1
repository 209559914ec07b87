# The relay among what is installed.

# The path of the relay that administrators alone can replace, or $null.
function Get-InstalledRelay {
    $path = [System.IO.Path]::Combine((Get-InstalledFolder), 'wslmesh-relay.exe')
    if ([System.IO.File]::Exists($path)) {
        return $path
    }
    $null
}
