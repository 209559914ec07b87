# Where the installed files lie.

function Get-InstalledFolder {
    [System.IO.Path]::Combine([Environment]::GetFolderPath('ProgramFiles'), 'wslmesh')
}
