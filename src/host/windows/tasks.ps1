# The two scheduled tasks of a Windows user.

$TaskFolder = '\wslmesh'

# Program and arguments of each task. wslg.exe is wsl.exe without a console window
# (microsoft/WSL: WslgMain); it knows no --exec, a shell type of "none" is the same.
function Get-TaskActions {
    param([string] $Sid, [hashtable] $Places, [System.Collections.IDictionary] $Policy)
    $logon = @{
        Program = $Places.System + '\wsl.exe'
        Arguments = '-d {0} --exec sleep infinity' -f $Policy['distribution']
    }
    if ($Places.Windowless) {
        $logon = @{
            Program = $Places.Windowless
            Arguments = '-d {0} --shell-type none -- sleep infinity' -f $Policy['distribution']
        }
    }
    @{
        Forward = @{
            Program = $Places.System + '\WindowsPowerShell\v1.0\powershell.exe'
            Arguments = '-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "{0}\forward.ps1" -Sid {1}' -f $Places.Program, $Sid
        }
        Logon = $logon
    }
}
