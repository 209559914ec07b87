# Where things lie. Windows is asked, and not the environment, which any program of
# the user can change for an elevated one too.

function Get-Places {
    $programs = [Environment]::GetFolderPath('ProgramFiles')
    $user = [Environment]::GetFolderPath('LocalApplicationData') + '\wslmesh'
    $windowless = $programs + '\WSL\wslg.exe'
    if (-not [System.IO.File]::Exists($windowless)) {
        $windowless = $null
    }
    @{
        System = [Environment]::SystemDirectory
        Program = $programs + '\wslmesh'
        Windowless = $windowless
        User = $user
        Staging = $user + '\staging'
    }
}
