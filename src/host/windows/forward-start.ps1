# ---- Start -----------------------------------------------------------------

# A test reads this file with the dot operator and puts its own functions in the
# place of those under "Windows". The task shows the exit code as its last result.
if ($MyInvocation.InvocationName -cne '.') {
    if ([string] $ExecutionContext.SessionState.LanguageMode -cne 'FullLanguage') {
        # Constrained by policy: no .NET call is allowed, so no file can be written.
        Write-Host '{"version":1,"ticket":0,"state":"failed","detail":"a policy of this machine keeps PowerShell in constrained language mode","elevated":true,"rules":[],"added":0,"removed":0,"kept":0,"conflicts":[],"taken":[],"refused":[],"firewall":null,"installed":null,"local-app-data":null,"guest-address":null,"windows-address":null,"lowest-mtu":null}'
        exit 3
    }
    if (-not (Test-Sid -Sid $Sid)) {
        exit 2
    }
    $text = Get-TaskText -Sid $Sid
    Write-TaskAnswer -Sid $Sid -Text $text
    Write-Answer -Text $text
    exit 0
}
