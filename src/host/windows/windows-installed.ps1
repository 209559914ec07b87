# What is installed.

function Get-InstalledFolder {
    [System.IO.Path]::Combine([Environment]::GetFolderPath('ProgramFiles'), 'wslmesh')
}

# The path of the relay that administrators alone can replace, or $null.
function Get-InstalledRelay {
    $path = [System.IO.Path]::Combine((Get-InstalledFolder), 'wslmesh-relay.exe')
    if ([System.IO.File]::Exists($path)) {
        return $path
    }
    $null
}
