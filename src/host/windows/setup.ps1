# setup.ps1: makes or removes the Windows side of wslmesh for one Windows user. It runs
# with administrator rights, from memory: a loader has checked the hashes of this text
# and of the order, which say what to do and for whom. It reads nothing else that a
# program without these rights could change, but for files whose hashes the order names.
#
# The account that runs this may be another one than the user it is for.
#
# Exit codes: 0 done, 20 not agreed to, 21 a hash differs, 22 no administrator rights,
# 23 failed, 24 another version is in the way, 25 agreed to too late, 26 our place under
# Program Files is taken, 27 another sync runs. PowerShell itself ends with 1 where a
# policy does not let the loader run.

param([string] $OrderText, [string] $Staging)

function ConvertTo-RangeWords {
    param([object[]] $Range)
    if ($Range[0] -eq $Range[1]) {
        return 'port {0}' -f $Range[0]
    }
    'any of the ports {0} to {1}' -f $Range[0], $Range[1]
}

function ConvertTo-FirewallWords {
    param([string] $Firewall, [string[]] $Profiles)
    $where = $Profiles -join ', '
    if ($Firewall -ceq 'none') {
        return 'no rule in the firewall: what it does today decides'
    }
    if ($Firewall -ceq 'local') {
        return 'the firewall lets the local subnet in (in networks of the kind: {0})' -f $where
    }
    'the firewall lets everyone in who can reach this machine (in networks of the kind: {0})' -f $where
}

function Get-PolicyWords {
    param([System.Collections.IDictionary] $Policy)
    if ($Policy['grants'].Count -eq 0) {
        '- No port is forwarded.'
    }
    foreach ($grant in $Policy['grants']) {
        $listen = 'all addresses of Windows'
        if ($grant['listen-address'] -cne '0.0.0.0') {
            $listen = 'the address {0} of Windows' -f $grant['listen-address']
        }
        '- {0}: {1} on {2} may lead to {3} of the distribution "{4}"' -f $grant['protocol'].ToUpperInvariant(), (ConvertTo-RangeWords -Range $grant['listen-ports']), $listen, (ConvertTo-RangeWords -Range $grant['connect-ports']), $Policy['distribution']
        '    ' + (ConvertTo-FirewallWords -Firewall $grant['firewall'] -Profiles $Policy['profiles'])
    }
    if ($Policy['logon']) {
        '- The distribution "{0}" is started, without administrator rights, when this user logs on, and kept running.' -f $Policy['distribution']
    }
    if ($Policy['profiles'] -ccontains 'public') {
        '- Networks that Windows calls public are among them.'
    }
}

function ConvertTo-Order {
    param([string] $Text)
    $order = ConvertFrom-RequestText -Text $Text -Place 'order'
    Assert-Fields -Object $order -Place 'order' -Names @('version', 'action', 'ticket', 'user', 'answer-until', 'agreed', 'policy', 'files')
    Assert-Version -Value $order.'version' -Place 'order.version'
    [void] (ConvertTo-Choice -Value $order.'action' -Choices @('install', 'uninstall') -Place 'order.action')
    Assert-Form -Value $order.'user' -Pattern $SidPattern -Place 'order.user'
    Assert-Switch -Value $order.'agreed' -Place 'order.agreed'
    if (($order.'ticket' -isnot [int]) -or ($order.'ticket' -lt 1)) {
        throw (New-InvalidRequest -Message 'order.ticket: must be a positive integer')
    }
    if (($order.'answer-until' -isnot [int]) -and ($order.'answer-until' -isnot [long])) {
        throw (New-InvalidRequest -Message 'order.answer-until: must be an integer')
    }
    $result = @{
        Action = $order.'action'
        Ticket = $order.'ticket'
        User = $order.'user'
        Until = [long] $order.'answer-until'
        Agreed = $order.'agreed'
        Policy = $null
        Hashes = @{}
    }
    if ($result.Action -ceq 'install') {
        $result.Policy = ConvertTo-PolicyTable -Text (ConvertTo-PolicyText -Value $order.'policy')
        $result.Hashes = ConvertTo-Hashes -Value $order.'files' -Names $InstalledFiles
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
        'From then on, without further questions, programs of this user may have Windows'
        'make and remove the following, and nothing beyond it:'
        ''
        Get-PolicyWords -Policy $Order.Policy
        ''
        'For this, two programs are put into the folder Program Files\wslmesh, and tasks into'
        'the task scheduler''s folder wslmesh. "wslmesh host uninstall" removes all of it.'
    } else {
        'All port forwards and firewall rules that wslmesh made for this user, its tasks, its'
        'policy and its files are removed. Nothing else is touched.'
    }
    if ($Others.Count -gt 0) {
        'Other Windows users of this machine have wslmesh too ({0}); its programs are shared.' -f $Others.Count
    }
    ''
}

# Rules of the port proxy that are ours and stand.
function Find-Standing {
    param([string] $Sid)
    $ledger = Select-Ledger -Values (Get-LedgerValues -Sid $Sid)
    $rules = Select-Listeners -Values (Get-PortProxyValues)
    @((Select-Owned -Rules $rules -Ledger $ledger).Keys)
}

# A sync with nothing asked for: what makes the rules also takes them away. Where that
# did not do it (netsh needs a service that may be off) the values themselves go: that
# service reads them when it starts.
function Remove-Rules {
    param([string] $Sid)
    $before = @(Find-Standing -Sid $Sid)
    $answer = Sync-Forwards -Forwards @() -Guest $null -Sid $Sid -Profiles 0
    $left = @(Find-Standing -Sid $Sid)
    if ($left.Count -gt 0) {
        Remove-PortProxyValues -Names $left
        if (@(Find-Standing -Sid $Sid).Count -gt 0) {
            throw ('port forwards that still stand: {0} ({1})' -f $left.Count, $answer['detail'])
        }
    }
    if ($answer['firewall']['state'] -ceq 'failed') {
        throw ('firewall: {0}' -f $answer['firewall']['detail'])
    }
    'port forwards removed: {0}, firewall rules removed: {1}' -f $before.Count, $answer['firewall']['removed']
}

# Rules that are on record and that could still be there. A guest's firewall that this
# Windows does not have holds none.
function Get-OpenEntries {
    param([hashtable] $Rules, [hashtable] $Ledger, [bool] $HyperV)
    $owned = Select-Owned -Rules (Select-Listeners -Values $Rules) -Ledger (Select-Ledger -Values $Ledger)
    foreach ($listener in $owned.Keys) {
        'tcp/' + $listener
    }
    foreach ($name in $Ledger.Keys) {
        if (($name -clike 'firewall/*') -and ($HyperV -or ($Ledger[$name] -cne 'hyper-v'))) {
            $name
        }
    }
}

# The ledger goes last, and only when nothing is left that it alone knows as ours.
function Remove-Registry {
    param([string] $Sid)
    Remove-RegistryText -Path ('SOFTWARE\wslmesh\' + $Sid) -Name 'policy'
    $open = @(Get-OpenEntries -Rules (Get-PortProxyValues) -Ledger (Get-LedgerValues -Sid $Sid) -HyperV (Test-HyperVFirewall))
    if ($open.Count -gt 0) {
        throw ('the ledger stays, because of rules that could not be removed: {0}' -f $open.Count)
    }
    Remove-RegistryTree -Sid $Sid
    'policy and ledger removed'
}

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

function Write-Line {
    param([string] $Text)
    try {
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    } catch {
        # Refused where no console is attached.
        $null = $_
    }
    [Console]::Out.WriteLine($Text)
}

function Test-NoConsole {
    [Console]::IsInputRedirected
}

function Read-Answer {
    [Console]::Out.Write('Type yes and press Enter to agree. Anything else changes nothing: ')
    $line = [Console]::In.ReadLine()
    if ($null -eq $line) {
        return ''
    }
    $line.Trim().ToLowerInvariant()
}

# Long enough to read the last line before the window closes.
function Wait-Close {
    if (-not [Console]::IsInputRedirected) {
        [System.Threading.Thread]::Sleep(2000)
    }
}

# The name under which the person knows the account; the SID is shown beside it.
function Get-UserName {
    param([string] $Sid)
    try {
        $account = New-Object System.Security.Principal.SecurityIdentifier($Sid)
        [string] $account.Translate([System.Security.Principal.NTAccount]).Value
    } catch {
        'a user whose name Windows does not tell'
    }
}

function Invoke-Script {
    try {
        $code = @(Invoke-Order -Text $OrderText -Folder $Staging)[-1]
    } catch {
        Write-Line -Text ('Failed: ' + $_.Exception.Message)
        $code = 23
    }
    Wait-Close
    exit $code
}
