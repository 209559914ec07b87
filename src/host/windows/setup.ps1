# setup.ps1: makes or removes the Windows side of wslmesh for one Windows user. It runs
# with administrator rights, from memory: a loader has checked the hashes of this text
# and of the order, which say what to do and for whom. It reads nothing else that a
# program without these rights could change, but for files whose hashes the order names.
#
# The account that runs this may be another one than the user it is for.
#
# Exit codes: 0 done, 20 not agreed to, 21 a hash differs, 22 no administrator rights, 23 failed, 24 another
# version is in the way, 25 agreed to too late, 26 our place under Program Files is taken, 27 another sync
# runs, 28 constrained language, 29 a file cannot be read. With 1 PowerShell itself says that nothing began.

param([string] $OrderText, [string] $Staging)

function Format-Ports {
    param([object[]] $Range)
    if ($Range[0] -eq $Range[1]) { return 'port {0}' -f $Range[0] }
    'any of the ports {0} to {1}' -f $Range[0], $Range[1]
}

function Format-Policy {
    param([System.Collections.IDictionary] $Policy)
    if ($Policy['grants'].Count -eq 0) { '- No port is forwarded.' }
    foreach ($grant in $Policy['grants']) {
        $listen = @{ '0.0.0.0' = 'all IPv4 addresses of Windows'; '::' = 'all addresses of Windows, IPv4 and IPv6' }[$grant['listen-address']]
        if ($null -eq $listen) { $listen = 'the address {0} of Windows' -f $grant['listen-address'] }
        '- {0}: {1} on {2} may lead to {3} of the distribution "{4}"' -f $grant['protocol'].ToUpperInvariant(), (Format-Ports -Range $grant['listen-ports']), $listen, (Format-Ports -Range $grant['connect-ports']), $Policy['distribution']
        '    ' + @{
            'none' = 'no rule in the firewall: what it does today decides'
            'local' = 'the firewall lets the local subnet in (in networks of the kind: {0})'
            'full' = 'the firewall lets everyone in who can reach this machine (in networks of the kind: {0})'
        }[$grant['firewall']] -f ($Policy['profiles'] -join ', ')
        if ($Policy['mode'] -ceq 'mirrored') {
            '    in mirrored mode: what listens there is the distribution itself'
        } else {
            '    ' + @{
                'auto' = 'by the relay, a program of this user; where Windows does not let that run, by the port proxy of Windows (TCP alone)'
                'relay' = 'by the relay, a program of this user'
                'portproxy' = 'by the port proxy of Windows'
            }[$grant['backend']]
        }
    }
    if ($Policy['logon']) {
        '- The distribution "{0}" is started, without administrator rights, when this user logs on, and kept running.' -f $Policy['distribution']
    }
    if ($Policy['profiles'] -ccontains 'public') { '- Networks that Windows calls public are among them.' }
}

function ConvertTo-Order {
    param([string] $Text)
    $order = ConvertFrom-RequestText -Text $Text -Place 'order'
    Assert-Fields -Object $order -Place 'order' -Fields @{
        'version' = @(1, 1); 'action' = @('install', 'uninstall'); 'ticket' = @(1, 2147483647); 'user' = $SidPattern
        'answer-until' = @(0, 9223372036854775807); 'agreed' = [bool]; 'policy' = $null; 'files' = $List
    }
    $result = @{
        Action = $order.'action'; Ticket = [int] $order.'ticket'; User = $order.'user'
        Until = [long] $order.'answer-until'; Agreed = $order.'agreed'; Policy = $null; Checked = $null; Open = $false; Hashes = @{}
    }
    if ($result.Action -ceq 'install') {
        $text = ConvertTo-Json -InputObject $order.'policy' -Depth 6 -Compress
        $result.Policy = ConvertTo-PolicyTable -Text $text
        $result.Checked = ConvertTo-Policy -Text $text
        $result.Hashes = ConvertTo-Hashes -Files $order.'files' -Names $InstalledFiles
    }
    $result
}

function Get-QuestionLines {
    param([hashtable] $Order, [string] $UserName, [bool] $SameAccount, [string[]] $Others)
    'wslmesh'
    ''
    if ($Order.Action -ceq 'install') {
        'You are about to install the Windows side of wslmesh {0} for this Windows user:' -f $Order.Policy['package']
    } else {
        'You are about to remove the Windows side of wslmesh for this Windows user:'
    }
    '    {0}' -f $UserName
    '    {0}' -f $Order.User
    if (-not $SameAccount) {
        ''
        'This window runs as another account. What follows is made for the user above.'
    }
    ''
    if ($Order.Action -ceq 'install') {
        'From then on, without further questions, programs of this user may serve the'
        'following on Windows, or have Windows serve it, and nothing beyond it:'
        ''
        Format-Policy -Policy $Order.Policy
        ''
        'For this, two programs are put into the folder Program Files\wslmesh, rules into the'
        'firewall (group wslmesh), and, as far as they are needed, tasks into the task'
        'scheduler''s folder wslmesh. In networks of other kinds the firewall lets nothing in'
        'to the relay. "wslmesh host uninstall" removes all of it.'
    } else {
        'All port forwards and firewall rules that wslmesh made for this user, its tasks, its'
        'policy and its files are removed. Nothing else is touched.'
    }
    if ($Others.Count -gt 0) {
        'Other Windows users of this machine have wslmesh too ({0}); its programs are shared.' -f $Others.Count
    }
    ''
}

function Find-OwnRules {
    param([string] $Sid)
    @((Read-Rules -Sid $Sid).Owned.Keys)
}

# A sync with nothing asked for: what makes the rules also removes them. Where that did not do it (netsh needs
# a service that may be off) the values themselves go: that service reads them when it starts, and another sync
# sees to a port that it still has.
function Remove-Rules {
    param([string] $Sid)
    $before = @(Find-OwnRules -Sid $Sid)
    $answer = (Sync-Rules -Forwards @() -Guest $null -Sid $Sid).Answer
    $left = @(Find-OwnRules -Sid $Sid)
    if ($left.Count -gt 0) {
        Set-WinRegistryValues -Path $ProxyPath -Values @{} -Removed $left
        if (@(Find-OwnRules -Sid $Sid).Count -gt 0) {
            throw ('{0} port forward(s) are still there; run it again ({1})' -f $left.Count, $answer['detail'])
        }
        $answer = (Sync-Rules -Forwards @() -Guest $null -Sid $Sid).Answer
    }
    if ($answer['state'] -ceq 'partial') { throw $answer['detail'] }
    $before.Count
}

# The rules of a policy, or ($null) none.
function Set-Firewall {
    param($Policy, [string] $Sid)
    $forwards = @()
    $kind = 'mirrored'
    if ($null -ne $Policy) {
        $forwards = @(Get-OwnForwards -Sid $Sid -Policy $Policy)
        $kind = Find-GuestKind -Policy $Policy
    }
    $answer = Sync-Firewall -Policy $Policy -Forwards $forwards -Owned (Read-Rules -Sid $Sid).Owned -Sid $Sid -Guest $kind -Write $true
    # Its service is not running: then nothing is filtered, and nothing can be changed.
    $off = ($answer['state'] -ceq 'failed') -and ($answer['detail'] -clike '*(0x800706d9)*')
    if ($off -and ($null -ne $Policy)) { return 'firewall: it is not running, and has no rules' }
    if ($answer['state'] -ceq 'failed') { throw ('firewall: {0}' -f $answer['detail']) }
    'firewall rules made: {0}, kept: {1}, removed: {2}' -f $answer['added'], $answer['kept'], $answer['removed']
}

# The ledger goes last, and only when nothing is left that it alone knows as ours.
function Remove-Registry {
    param([string] $Sid)
    Set-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid) -Values @{} -Removed @('policy')
    $hyperV = Test-WinGuestFirewall
    $ledger = Get-LedgerValues -Sid $Sid
    # A guest's firewall that this Windows does not have holds no rules.
    $rules = @($ledger.Keys | Where-Object { ($_ -clike 'firewall/*') -and ($hyperV -or ($ledger[$_] -cne 'hyper-v')) })
    $open = @(Find-OwnRules -Sid $Sid).Count + $rules.Count
    if ($open -gt 0) { throw ('{0} rule(s) could not be removed, so the list of what is ours stays; run it again' -f $open) }
    Remove-WinRegistryKey -Path ('SOFTWARE\wslmesh\' + $Sid) -Whole $true
    'policy and ledger removed'
}

# As a failure names them.
$InstallSteps = @('make the folders', 'change the files', 'start the relay', 'write the registry', 'change the tasks', 'change the firewall')
# Rules first: what is left after a failure must still be known as ours. Under the
# lock of a sync, so that none puts back what is being removed.
$RemovalSteps = @('remove the rules', 'change the firewall', 'change the tasks', 'write the registry', 'change the files')

# File name to bytes. Each file is read once, and what was hashed is what is written.
function Read-Files {
    param([hashtable] $Order, [string] $Staging)
    $files = @{}
    foreach ($name in @($Order.Hashes.Keys)) {
        $bytes = (Read-WinFile -Path ($Staging + '\' + $name) -Share 'Read').Bytes
        if ((Get-Hash -Bytes $bytes) -cne $Order.Hashes[$name]) { return $null }
        $files[$name] = $bytes
    }
    $files
}

# Existing forwards were made under the policy of their time. Where another one comes, they go, and the next sync makes
# those that it still allows. What is not about rules may differ.
function Remove-FormerRules {
    param([hashtable] $Order)
    if (@((Get-LedgerValues -Sid $Order.User).Keys -clike '*tcp/*').Count -eq 0) { return '' }
    try {
        $old = ConvertTo-PolicyTable -Text (Get-OwnValue -Sid $Order.User -Name 'policy')
        foreach ($name in @('package', 'distribution', 'logon')) { $old[$name] = $Order.Policy[$name] }
        $same = (ConvertTo-AsciiJson -Answer $old) -ceq (ConvertTo-AsciiJson -Answer $Order.Policy)
        $covered = @(Get-OwnForwards -Sid $Order.User -Policy $Order.Checked).Count -eq @(Find-OwnRules -Sid $Order.User).Count
        if ($same -and $covered) { return '' }
    } catch [System.IO.InvalidDataException] {
        # There is none, or none that can be read.
    }
    '; the rules of the former policy are removed: {0}' -f (Remove-Rules -Sid $Order.User)
}

# Starts the relay once as the user, who alone may be kept from it: by a task that is theirs. What else goes wrong is
# no policy, and is said when the agent starts it.
function Test-Forbidden {
    param([string] $Sid, [hashtable] $Places)
    $name = 'try-' + $Sid
    Set-WinTaskFolder
    $action = @{ Program = Get-RelayPath; Arguments = '--version' }
    Set-WinTask -Name $name -Xml (New-TaskXml -Sid $Sid -Kind 'try' -Action $action -Folder $Places.System) -Security ($TaskSecurity -f $Sid)
    try {
        Start-WinTask -Name $name
        $clock = New-WinClock
        do {
            Wait-Win -Milliseconds 75
            $run = Get-WinTaskRun -Name $name
            # 3: ready, so it neither waits nor runs; 0x00041303: it has never run.
            $ended = ($run.State -eq 3) -and ($run.Result -cne '0x00041303')
        } until ($ended -or ($clock.ElapsedMilliseconds -ge 10000))
        # An error of Windows as the task scheduler has it (HRESULT_FROM_WIN32).
        if ($ended -and ($run.Result -cmatch '\A0x8007[0-9a-f]{4}\z')) {
            return Test-PolicyError -Code ([System.Convert]::ToInt32($run.Result.Substring(6), 16))
        }
        $false
    } finally {
        Remove-WinTask -Name $name
    }
}

function Set-OwnFolders {
    param([hashtable] $Order, [hashtable] $Places)
    Set-WinFolder -Path $Places.Program -Security $ProgramSecurity
    Set-WinFolder -Path ($Places.Program + '\' + $Order.User) -Security ($FolderSecurity -f $Order.User)
}

function Set-Inbox {
    param([hashtable] $Order, [string] $Path)
    if (-not (Test-NeedsTask -Policy $Order.Checked)) {
        Remove-UserFiles -Path $Path
        return
    }
    Set-WinFolder -Path $Path -Security ($FolderSecurity -f $Order.User)
    # Made anew each time: whatever the user may have made of it (a reparse point of some
    # kind, a second name elsewhere) goes, and with it nothing that it leads to.
    Remove-WinFile -Path ($Path + '\selection.json') -Tries 10
    (New-WinFile -Path ($Path + '\selection.json') -Mode 'CreateNew' -Security ($SelectionSecurity -f $Order.User)).Dispose()
}

function Set-Tasks {
    param([hashtable] $Order, [hashtable] $Places)
    $actions = Get-TaskActions -Sid $Order.User -Places $Places -Policy $Order.Policy
    $security = $TaskSecurity -f $Order.User
    $names = @{ 'forward' = 'forward-' + $Order.User; 'logon' = 'logon-' + $Order.User }
    Set-WinTaskFolder
    Set-Inbox -Order $Order -Path ($Places.Program + '\' + $Order.User + '\inbox')
    if (Test-NeedsTask -Policy $Order.Checked) {
        Set-WinTask -Name $names.forward -Xml (New-TaskXml -Sid $Order.User -Kind 'forward' -Action $actions.Forward -Folder $Places.System) -Security $security
        'one that makes forwards'
    } else {
        Remove-WinTask -Name $names.forward
    }
    if (-not $Order.Policy['logon']) {
        Remove-WinTask -Name $names.logon
        Remove-WinTaskFolder
        return
    }
    # Stopped with the task is what keeps the distribution: it starts anew.
    $ran = Test-WinTaskRuns -Name $names.logon
    Set-WinTask -Name $names.logon -Xml (New-TaskXml -Sid $Order.User -Kind 'logon' -Action $actions.Logon -Folder $Places.System) -Security $security
    if ($ran) { Start-WinTask -Name $names.logon }
    'one that starts the distribution after a logon'
}

function Invoke-InstallStep {
    param([string] $Step, [hashtable] $Order, [hashtable] $Places, [hashtable] $Files)
    if ($Step -ceq 'make the folders') {
        Set-OwnFolders -Order $Order -Places $Places
        return 'folder: {0}' -f $Places.Program
    }
    if ($Step -ceq 'change the files') {
        foreach ($name in $InstalledFiles) { Set-WinProgram -Path ($Places.Program + '\' + $name) -Bytes $Files[$name] }
        Clear-Leftovers -Path $Places.Program
        return 'files: {0} (shared with other Windows users: {1})' -f ($InstalledFiles -join ', '), @(Find-OtherUsers -Sid $Order.User).Count
    }
    if ($Step -ceq 'start the relay') {
        $Order.Checked.Forbidden = Test-Forbidden -Sid $Order.User -Places $Places
        if ($Order.Checked.Forbidden) { return 'relay: a policy of this Windows (AppLocker, Smart App Control) keeps it from being started' }
        return 'relay: it may be started'
    }
    if ($Step -ceq 'write the registry') {
        $former = Remove-FormerRules -Order $Order
        $own = 'SOFTWARE\wslmesh\' + $Order.User
        foreach ($path in @('SOFTWARE\wslmesh', $own)) { Set-WinRegistryKey -Path $path -Security $KeySecurity }
        $installed = ConvertTo-AsciiJson -Answer (New-Installed -Package $Order.Policy['package'] -Hashes $Order.Hashes)
        Set-WinRegistryValues -Path 'SOFTWARE\wslmesh' -Values @{ 'installed' = $installed } -Removed @()
        $values = @{ 'policy' = ConvertTo-AsciiJson -Answer $Order.Policy }
        $removed = @('relay')
        if ($Order.Checked.Forbidden) {
            $values['relay'] = 'forbidden'
            $removed = @()
        }
        Set-WinRegistryValues -Path $own -Values $values -Removed $removed
        return 'policy: ports of {0} grant(s) may be forwarded{1}' -f $Order.Policy['grants'].Count, $former
    }
    if ($Step -ceq 'change the firewall') { return Set-Firewall -Policy $Order.Checked -Sid $Order.User }
    $made = @(Set-Tasks -Order $Order -Places $Places)
    if ($made.Count -eq 0) { return 'tasks: none is needed' }
    'tasks: ' + ($made -join ', ')
}

function Invoke-RemovalStep {
    param([string] $Step, [hashtable] $Order, [hashtable] $Places)
    if ($Step -ceq 'remove the rules') { return 'port forwards removed: {0}' -f (Remove-Rules -Sid $Order.User) }
    if ($Step -ceq 'change the firewall') {
        # Until it is done the registry says what is to be removed.
        $Order.Open = $true
        $words = Set-Firewall -Policy $null -Sid $Order.User
        $Order.Open = $false
        return $words
    }
    if ($Step -ceq 'write the registry') {
        if ($Order.Open) { throw 'firewall rules could not be removed, so the list of what is ours stays; run it again' }
        return Remove-Registry -Sid $Order.User
    }
    if ($Step -ceq 'change the tasks') {
        foreach ($kind in @('forward-', 'logon-', 'try-')) { Remove-WinTask -Name ($kind + $Order.User) }
        Remove-WinTaskFolder
        return 'tasks removed'
    }
    Remove-UserFiles -Path ($Places.Program + '\' + $Order.User)
    if (@(Find-OtherUsers -Sid $Order.User).Count -gt 0) {
        return 'files of this user removed; the programs stay, other users need them'
    }
    Remove-ProgramFiles -Path $Places.Program -Names $InstalledFiles
    # With the value: a run that is stopped between the two would leave an empty key for good. Others' keys may know rules.
    if (@(Get-WinRegistryKeys -Path 'SOFTWARE\wslmesh').Count -eq 0) {
        Remove-WinRegistryKey -Path 'SOFTWARE\wslmesh' -Whole $true
    } else {
        Set-WinRegistryValues -Path 'SOFTWARE\wslmesh' -Values @{} -Removed @('installed')
    }
    'files removed'
}

# An install stops at the first failure; a removal goes on and says what failed.
function Invoke-Steps {
    param([hashtable] $Order, [hashtable] $Places, $Files)
    $outcome = @{ Done = @(); Failed = @() }
    $install = $Order.Action -ceq 'install'
    $steps = $RemovalSteps
    if ($install) { $steps = $InstallSteps }
    foreach ($step in $steps) {
        try {
            if ($install) {
                $words = Invoke-InstallStep -Step $step -Order $Order -Places $Places -Files $Files
            } else {
                $words = Invoke-RemovalStep -Step $step -Order $Order -Places $Places
            }
            $outcome.Done += [string] $words
            Write-Line -Text ('  ' + $words)
        } catch {
            $words = Format-Failure -Step $step -Failure $_
            $outcome.Failed += $words
            Write-Line -Text ('  FAILED ' + $words)
            if ($install) { break }
        }
    }
    $outcome
}

# What the caller reads: how it ended or, as soon as the work begins, that it was agreed to.
function Write-Result {
    param([hashtable] $Order, [hashtable] $Places, [string] $State, [hashtable] $Outcome)
    $detail = $null
    if ($Outcome.Failed.Count -gt 0) { $detail = $Outcome.Failed -join '; ' }
    Set-OwnFolders -Order $Order -Places $Places
    Set-WinText -Path ($Places.Program + '\' + $Order.User + '\setup.json') -Text (ConvertTo-AsciiJson -Answer ([ordered] @{
        'version' = 1; 'ticket' = $Order.Ticket; 'state' = $State; 'detail' = $detail
        'administrator' = $Order.Administrator; 'done' = @($Outcome.Done)
    }))
}

# Under the lock: the mark, the work, its result. A removal that left nothing leaves no result either: the folder
# for it is gone.
function Invoke-Work {
    param([hashtable] $Order, [hashtable] $Places, $Files)
    Write-Result -Order $Order -Places $Places -State 'agreed' -Outcome @{ Done = @(); Failed = @() }
    $outcome = Invoke-Steps -Order $Order -Places $Places -Files $Files
    if ($outcome.Failed.Count -gt 0) {
        Write-Result -Order $Order -Places $Places -State 'failed' -Outcome $outcome
        return 23
    }
    if ($Order.Action -ceq 'install') { Write-Result -Order $Order -Places $Places -State 'installed' -Outcome $outcome }
    0
}

# Returns 0, or the exit code that says why nothing may be done.
function Request-Agreement {
    param([hashtable] $Order, [bool] $SameAccount, [string[]] $Others)
    foreach ($line in @(Get-QuestionLines -Order $Order -UserName (Get-WinUserName -Sid $Order.User) -SameAccount $SameAccount -Others $Others)) {
        Write-Line -Text $line
    }
    if ($Order.Agreed) {
        # Only a caller that had these rights already can start this without a console.
        if (Test-WinConsole) { return 20 }
        return 0
    }
    if ((Read-WinAnswer) -cne 'yes') { return 20 }
    if ((Get-WinTime) -gt $Order.Until) { return 25 }
    0
}

# Whether other users have what an install would break; says what.
function Test-Conflict {
    param([hashtable] $Order)
    if ($Order.Action -ceq 'uninstall') { return $false }
    $installed = Read-Installed -Values (Get-WinRegistryValues -Path 'SOFTWARE\wslmesh')
    $words = Find-ContractConflict -Installed $installed -Others @(Find-OtherUsers -Sid $Order.User)
    if ($null -ne $words) { Write-Line -Text $words }
    $null -ne $words
}

function Invoke-Order {
    param([string] $Text, [string] $Folder)
    $caller = Get-WinCaller
    if (-not $caller.Elevated) { return 22 }
    $order = (ConvertTo-Order -Text $Text) + @{ Administrator = $caller.Sid }
    # Before the question: what is agreed to must not change while it is read.
    try {
        $files = Read-Files -Order $order -Staging $Folder
    } catch {
        Write-Line -Text (Format-Failure -Step 'read the files that were ordered' -Failure $_)
        return 29
    }
    if ($null -eq $files) { return 21 }
    $places = Get-Places
    if (-not (Test-OwnFolder -Path $places.Program)) { return 26 }
    if (Test-Conflict -Order $order) { return 24 }
    $refusal = Request-Agreement -Order $order -SameAccount ($caller.Sid -ceq $order.User) -Others @(Find-OtherUsers -Sid $order.User)
    if ($refusal -ne 0) { return $refusal }
    try {
        $lock = Enter-SyncLock
    } catch {
        Write-Line -Text (Format-Failure -Step 'take the lock' -Failure $_)
        return 27
    }
    try {
        # While the question was read another user may have installed.
        if (Test-Conflict -Order $order) { return 24 }
        Invoke-Work -Order $order -Places $places -Files $files
    } finally {
        Exit-SyncLock -Lock $lock
    }
}

function Write-Line {
    param([string] $Text)
    Write-WinOutput -Text ($Text + "`r`n")
}

function Invoke-Script {
    try {
        $code = @(Invoke-Order -Text $OrderText -Folder $Staging)[-1]
    } catch {
        Write-Line -Text ('Failed: ' + (Format-Failure -Step 'do what was ordered' -Failure $_))
        $code = 23
    }
    $words = @{
        20 = 'Not agreed'; 21 = 'A file is not the one that was ordered'; 25 = 'That was too late, ask for it again'
        26 = 'The folder wslmesh under Program Files is a file, a link or another account''s'
    }[[int] $code]
    if ($null -ne $words) { Write-Line -Text ($words + ': nothing was changed.') }
    # Long enough to read the last line before the window closes.
    if (Test-WinConsole) { Wait-Win -Milliseconds 2000 }
    exit $code
}

function Test-WinConsole {
    -not [Console]::IsInputRedirected
}

function Read-WinAnswer {
    Write-WinOutput -Text 'Type yes and press Enter to agree. Anything else changes nothing: '
    ([string] [Console]::In.ReadLine()).Trim().ToLowerInvariant()
}

# The name under which the person knows the account; the SID is shown beside it.
function Get-WinUserName {
    param([string] $Sid)
    try {
        $account = New-Object System.Security.Principal.SecurityIdentifier($Sid)
        [string] $account.Translate([System.Security.Principal.NTAccount]).Value
    } catch {
        # No domain controller answers, or the account is deleted: the SID stands beside it.
        'a user whose name Windows does not tell'
    }
}
