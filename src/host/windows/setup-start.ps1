# ---- Start -----------------------------------------------------------------

# A test reads this file with the dot operator and puts its own functions in the
# place of those under "Windows".
if ($MyInvocation.InvocationName -cne '.') {
    try {
        $code = @(Invoke-Order -Text $OrderText -Folder $Staging)[-1]
    } catch {
        Write-Line -Text ('Failed: ' + $_.Exception.Message)
        $code = 23
    }
    Wait-Moment
    exit $code
}
