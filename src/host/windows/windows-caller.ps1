# Who runs this.

# The group is asked for by its well-known number, so its localised name is no matter.
function Get-Caller {
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object System.Security.Principal.WindowsPrincipal($identity)
    @{
        Sid = [string] $identity.User.Value
        Elevated = [bool] $principal.IsInRole([System.Security.Principal.WindowsBuiltInRole]::Administrator)
    }
}
