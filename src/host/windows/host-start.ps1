# ---- Start -----------------------------------------------------------------

# A test reads this file with the dot operator and puts its own functions in the
# place of those under "Windows".
if ($MyInvocation.InvocationName -cne '.') {
    if ([string] $ExecutionContext.SessionState.LanguageMode -cne 'FullLanguage') {
        # Constrained by policy: no .NET call is allowed, so the answer is fixed text.
        Write-Host '{"version":1,"state":"constrained","detail":"a policy of this machine (AppLocker, Windows Defender Application Control or Smart App Control) keeps PowerShell in constrained language mode","installed":null,"policy":null,"user":null,"elevated":false,"over-the-shoulder":false,"other-users":[],"done":[],"checks":[]}'
    } else {
        Write-Answer -Text (Get-HostAnswerText)
    }
    exit 0
}
