# Who runs this, and what the machine's policies say about that.

# An administrator who is not elevated has the group for refusals only. Groups are
# asked for by their well-known numbers, so localised names are no matter.
function Get-Account {
    $caller = Get-Caller
    $identity = [System.Security.Principal.WindowsIdentity]::GetCurrent()
    $denied = @($identity.Claims | Where-Object {
        ($_.Type -ceq [System.Security.Claims.ClaimTypes]::DenyOnlySid) -and ($_.Value -ceq 'S-1-5-32-544')
    })
    $control = Get-RegistryValues -Path 'SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System'
    $scripts = Get-RegistryValues -Path 'SOFTWARE\Policies\Microsoft\Windows\PowerShell'
    $policy = 'none'
    if ($scripts['EnableScripts'] -ceq '0') {
        $policy = 'Restricted'
    } elseif ($scripts.ContainsKey('ExecutionPolicy')) {
        $policy = $scripts['ExecutionPolicy']
    }
    @{
        Sid = $caller.Sid
        Elevated = $caller.Elevated
        Administrator = $caller.Elevated -or ($denied.Count -gt 0)
        StandardDenied = $control['ConsentPromptBehaviorUser'] -ceq '0'
        ScriptPolicy = $policy
        Session = [System.Diagnostics.Process]::GetCurrentProcess().SessionId
    }
}
