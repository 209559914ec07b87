# ---- Order of events -------------------------------------------------------

$InstallSteps = @('folders', 'files', 'registry', 'tasks')
# Rules first: what is left after a failure must still be known as ours. Under the
# lock of a sync, so that none puts back what is being removed.
$RemovalSteps = @('rules', 'tasks', 'registry', 'files')

# File name to bytes. Each file is read once, and what was hashed is what is written.
function Read-Files {
    param([hashtable] $Order, [string] $Staging)
    $files = @{}
    foreach ($name in @($Order.Hashes.Keys)) {
        $bytes = (Read-FileBytes -Path ($Staging + '\' + $name)).Bytes
        if ((Get-Hash -Bytes $bytes) -cne $Order.Hashes[$name]) {
            return $null
        }
        $files[$name] = $bytes
    }
    $files
}

# What a policy lets through, as text; '' for one that cannot be read.
function Get-AgreedText {
    param([string] $Text)
    try {
        $policy = ConvertTo-PolicyTable -Text $Text
    } catch [System.IO.InvalidDataException] {
        return ''
    }
    ConvertTo-AsciiJson -Answer ([ordered] @{ 'profiles' = $policy['profiles']; 'grants' = $policy['grants'] })
}

# Rules that stand were made under the policy of their time. Where another one comes,
# they go, and the next refresh makes those that it still agrees to.
function Remove-FormerRules {
    param([hashtable] $Order)
    $old = (Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Order.User))['policy']
    $new = ConvertTo-AsciiJson -Answer $Order.Policy
    $ledger = Get-LedgerValues -Sid $Order.User
    if (($ledger.Count -gt 0) -and ((Get-AgreedText -Text $old) -cne (Get-AgreedText -Text $new))) {
        [void] (Remove-Rules -Sid $Order.User)
        return '; the rules of the former policy are removed'
    }
    ''
}

function Invoke-InstallStep {
    param([string] $Step, [hashtable] $Order, [hashtable] $Places, [hashtable] $Files)
    $own = $Places.Program + '\' + $Order.User
    if ($Step -ceq 'folders') {
        Set-OwnFolder -Path $Places.Program -Security $ProgramSecurity
        Set-OwnFolder -Path $own -Security (Get-FolderSecurity -Sid $Order.User)
        Set-OwnFolder -Path ($own + '\inbox') -Security (Get-FolderSecurity -Sid $Order.User)
        Set-SelectionFile -Path ($own + '\inbox\selection.json') -Security (Get-SelectionSecurity -Sid $Order.User)
        return 'folder: {0}' -f $Places.Program
    }
    if ($Step -ceq 'files') {
        foreach ($name in $InstalledFiles) {
            Set-ProgramFile -Path ($Places.Program + '\' + $name) -Bytes $Files[$name]
        }
        Clear-Leftovers -Path $Places.Program
        $others = @(Find-OtherUsers -Sid $Order.User).Count
        return 'files: {0} (shared with other Windows users: {1})' -f ($InstalledFiles -join ', '), $others
    }
    if ($Step -ceq 'registry') {
        $former = Remove-FormerRules -Order $Order
        Set-RegistryText -Path 'SOFTWARE\wslmesh' -Name 'installed' -Value (ConvertTo-AsciiJson -Answer (New-Installed -Package $Order.Policy['package'] -Hashes $Order.Hashes))
        Set-RegistryText -Path ('SOFTWARE\wslmesh\' + $Order.User) -Name 'policy' -Value (ConvertTo-AsciiJson -Answer $Order.Policy)
        return 'policy: ports of {0} grant(s) may be forwarded{1}' -f $Order.Policy['grants'].Count, $former
    }
    $actions = Get-TaskActions -Sid $Order.User -Places $Places -Policy $Order.Policy
    $security = Get-TaskSecurity -Sid $Order.User
    Set-TaskFolder
    Set-OwnTask -Name ('forward-' + $Order.User) -Xml (Get-ForwardTaskXml -Sid $Order.User -Action $actions.Forward -Places $Places) -User 'S-1-5-18' -Logon 5 -Security $security
    if ($Order.Policy['logon']) {
        # Stopped with the task is what keeps the distribution: it starts anew.
        $ran = Test-TaskRuns -Name ('logon-' + $Order.User)
        Set-OwnTask -Name ('logon-' + $Order.User) -Xml (Get-LogonTaskXml -Sid $Order.User -Action $actions.Logon -Places $Places) -User $Order.User -Logon 3 -Security $security
        if ($ran) {
            Start-OwnTask -Name ('logon-' + $Order.User)
        }
        return 'tasks: one that makes forwards, one that starts the distribution after a logon'
    }
    Remove-OwnTask -Name ('logon-' + $Order.User)
    'task: one that makes forwards'
}

function Invoke-RemovalStep {
    param([string] $Step, [hashtable] $Order, [hashtable] $Places)
    if ($Step -ceq 'rules') {
        return Remove-Rules -Sid $Order.User
    }
    if ($Step -ceq 'tasks') {
        Remove-OwnTask -Name ('forward-' + $Order.User)
        Remove-OwnTask -Name ('logon-' + $Order.User)
        Remove-TaskFolder
        return 'tasks removed'
    }
    if ($Step -ceq 'registry') {
        return Remove-Registry -Sid $Order.User
    }
    Remove-UserFiles -Path ($Places.Program + '\' + $Order.User)
    if (@(Find-OtherUsers -Sid $Order.User).Count -gt 0) {
        return 'files of this user removed; the programs stay, other users need them'
    }
    Remove-ProgramFiles -Path $Places.Program -Names $InstalledFiles
    Remove-RegistryText -Path 'SOFTWARE\wslmesh' -Name 'installed'
    Remove-EmptyKey -Path 'SOFTWARE\wslmesh'
    'files removed'
}

# An install stops at the first failure; a removal goes on and says what failed.
function Invoke-Steps {
    param([hashtable] $Order, [hashtable] $Places, $Files)
    $done = New-Object System.Collections.ArrayList
    $failed = New-Object System.Collections.ArrayList
    $steps = $RemovalSteps
    if ($Order.Action -ceq 'install') {
        $steps = $InstallSteps
    }
    foreach ($step in $steps) {
        try {
            if ($Order.Action -ceq 'install') {
                $words = Invoke-InstallStep -Step $step -Order $Order -Places $Places -Files $Files
            } else {
                $words = Invoke-RemovalStep -Step $step -Order $Order -Places $Places
            }
            [void] $done.Add([string] $words)
            Write-Line -Text ('  ' + $words)
        } catch {
            $words = '{0}: {1}' -f $step, $_.Exception.Message
            [void] $failed.Add($words)
            Write-Line -Text ('  FAILED ' + $words)
            if ($Order.Action -ceq 'install') {
                break
            }
        }
    }
    @{ Done = $done; Failed = $failed }
}

function ConvertTo-ResultText {
    param([hashtable] $Order, [hashtable] $Outcome, [string] $Administrator)
    $state = 'removed'
    if ($Order.Action -ceq 'install') {
        $state = 'installed'
    }
    $detail = $null
    if ($Outcome.Failed.Count -gt 0) {
        $state = 'failed'
        $detail = $Outcome.Failed -join '; '
    }
    ConvertTo-AsciiJson -Answer ([ordered] @{
        'version' = 1
        'ticket' = $Order.Ticket
        'state' = $state
        'detail' = $detail
        'administrator' = $Administrator
        'done' = @($Outcome.Done)
    })
}

# A removal that left nothing leaves no result either: the folder for it is gone.
function Write-Result {
    param([hashtable] $Order, [hashtable] $Places, [hashtable] $Outcome, [string] $Administrator)
    if (($Order.Action -ceq 'uninstall') -and ($Outcome.Failed.Count -eq 0)) {
        return
    }
    $own = $Places.Program + '\' + $Order.User
    Set-OwnFolder -Path $Places.Program -Security $ProgramSecurity
    Set-OwnFolder -Path $own -Security (Get-FolderSecurity -Sid $Order.User)
    Set-TextFile -Path ($own + '\setup.json') -Text (ConvertTo-ResultText -Order $Order -Outcome $Outcome -Administrator $Administrator)
}

# Returns 0, or the exit code that says why nothing may be done.
function Request-Agreement {
    param([hashtable] $Order, [bool] $SameAccount, [string[]] $Others)
    foreach ($line in @(Get-QuestionLines -Order $Order -UserName (Get-UserName -Sid $Order.User) -SameAccount $SameAccount -Others $Others)) {
        Write-Line -Text $line
    }
    if ($Order.Agreed) {
        # Only a caller that had these rights already can start this without a console.
        if (-not (Test-NoConsole)) {
            return 20
        }
        return 0
    }
    if ((Read-Answer) -cne 'yes') {
        Write-Line -Text 'Not agreed: nothing was changed.'
        return 20
    }
    if ((Get-UnixTime) -gt $Order.Until) {
        Write-Line -Text 'That was too late: nothing was changed. Ask for it again.'
        return 25
    }
    0
}

function Invoke-Order {
    param([string] $Text, [string] $Folder)
    $caller = Get-Caller
    if (-not $caller.Elevated) {
        return 22
    }
    $order = ConvertTo-Order -Text $Text
    # Before the question: what is agreed to must not change while somebody reads.
    $files = Read-Files -Order $order -Staging $Folder
    if ($null -eq $files) {
        Write-Line -Text 'A file is not the one that was ordered: nothing was changed.'
        return 21
    }
    $places = Get-Places
    if (-not (Test-OwnFolder -Path $places.Program)) {
        Write-Line -Text ('{0} is a file, a link or somebody else''s folder: nothing was changed.' -f $places.Program)
        return 26
    }
    $others = @(Find-OtherUsers -Sid $order.User)
    if ($order.Action -ceq 'install') {
        $obstacle = Get-ContractObstacle -Installed (Read-Installed -Values (Get-RegistryValues -Path 'SOFTWARE\wslmesh')) -Others $others
        if ($null -ne $obstacle) {
            Write-Line -Text $obstacle
            return 24
        }
    }
    $refusal = Request-Agreement -Order $order -SameAccount ($caller.Sid -ceq $order.User) -Others $others
    if ($refusal -ne 0) {
        return $refusal
    }
    if ($order.Action -ceq 'install') {
        # Before the lock, which is a file in it.
        Set-OwnFolder -Path $places.Program -Security $ProgramSecurity
    }
    try {
        $lock = Enter-SyncLock
    } catch {
        Write-Line -Text $_.Exception.Message
        return 27
    }
    try {
        $outcome = Invoke-Steps -Order $order -Places $places -Files $files
        Write-Result -Order $order -Places $places -Outcome $outcome -Administrator $caller.Sid
    } finally {
        Exit-Lock -Lock $lock
    }
    if ($outcome.Failed.Count -gt 0) {
        return 23
    }
    if ($order.Action -ceq 'uninstall') {
        Remove-ProgramFolder -Path $places.Program
    }
    0
}
