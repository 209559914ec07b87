# ---- Start -----------------------------------------------------------------

# A test reads this file with the dot operator and puts its own functions in the
# place of those under "Windows".
if ($MyInvocation.InvocationName -cne '.') {
    if ([string] $ExecutionContext.SessionState.LanguageMode -cne 'FullLanguage') {
        # Constrained by policy: no .NET call is allowed, so the answer is fixed text.
        # Write-Host, because what goes through the formatter may be wrapped.
        Write-Host '{"version":1,"state":"failed","detail":"a policy of this machine keeps PowerShell in constrained language mode","elevated":false,"rules":[],"added":0,"removed":0,"kept":0,"conflicts":[],"taken":[],"refused":[],"firewall":null,"installed":null,"local-app-data":null,"guest-address":null,"windows-address":null,"lowest-mtu":null}'
    } else {
        Write-Answer -Text (Get-AnswerText)
    }
    exit 0
}
