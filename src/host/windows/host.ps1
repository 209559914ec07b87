#Requires -Version 5.1
# host.ps1: installs, removes and examines the Windows side of wslmesh for the Windows
# user who runs it. A JSON request on standard input, one JSON answer on standard
# output, exit code 0 whenever an answer was printed. It has no administrator rights;
# what needs them is done by setup.ps1, which it starts after Windows has asked the
# person.

# A field that may be absent counts as false.
function Read-Agreed {
    param($Request)
    if ($null -eq $Request.PSObject.Properties['agreed']) {
        return $false
    }
    Assert-Switch -Value $Request.'agreed' -Place 'agreed'
    $Request.'agreed'
}

# The names without 'agreed' where it is absent: the check of fields knows no choice.
function Select-Fields {
    param($Request, [string[]] $Names)
    foreach ($name in $Names) {
        if (($name -cne 'agreed') -or ($null -ne $Request.PSObject.Properties['agreed'])) {
            $name
        }
    }
}

# Request text -> a table: Action, Policy, Hashes, Agreed, Probe.
function ConvertTo-HostRequest {
    param([string] $Text)
    $request = ConvertFrom-RequestText -Text $Text -Place 'request'
    if (($request -isnot [System.Management.Automation.PSCustomObject]) -or ($null -eq $request.PSObject.Properties['action'])) {
        throw (New-InvalidRequest -Message 'request: must be an object with the field "action"')
    }
    $action = $request.'action'
    [void] (ConvertTo-Choice -Value $action -Choices @('look', 'install', 'uninstall', 'check') -Place 'action')
    $result = @{ Action = $action; Policy = $null; Hashes = $null; Agreed = $false; Probe = $false }
    if ($action -ceq 'install') {
        Assert-Fields -Object $request -Place 'request' -Names @(Select-Fields -Request $request -Names @('version', 'action', 'policy', 'package', 'files', 'agreed'))
        $result.Policy = ConvertTo-PolicyTable -Text (ConvertTo-PolicyText -Value $request.'policy')
        if (($request.'package' -isnot [string]) -or ($request.'package' -cne $result.Policy['package'])) {
            throw (New-InvalidRequest -Message 'package: must be that of the policy')
        }
        $result.Hashes = ConvertTo-Hashes -Value $request.'files' -Names @('forward.ps1', 'setup.ps1', 'wslmesh-relay.exe')
        $result.Agreed = Read-Agreed -Request $request
    }
    if ($action -ceq 'uninstall') {
        Assert-Fields -Object $request -Place 'request' -Names @(Select-Fields -Request $request -Names @('version', 'action', 'files', 'agreed'))
        $result.Hashes = ConvertTo-Hashes -Value $request.'files' -Names @('setup.ps1')
        $result.Agreed = Read-Agreed -Request $request
    }
    if ($action -ceq 'check') {
        Assert-Fields -Object $request -Place 'request' -Names @('version', 'action', 'probe')
        Assert-Switch -Value $request.'probe' -Place 'probe'
        $result.Probe = $request.'probe'
    }
    if ($action -ceq 'look') {
        Assert-Fields -Object $request -Place 'request' -Names @('version', 'action')
    }
    Assert-Version -Value $request.'version' -Place 'version'
    $result
}

function ConvertTo-OrderText {
    param([hashtable] $Request, [string] $Sid, [int] $Ticket, [long] $Until, [bool] $Agreed)
    $files = @()
    if ($Request.Action -ceq 'install') {
        $files = @(foreach ($name in $InstalledFiles) {
            [ordered] @{ 'name' = $name; 'sha256' = $Request.Hashes[$name] }
        })
    }
    ConvertTo-AsciiJson -Answer ([ordered] @{
        'version' = 1
        'action' = $Request.Action
        'ticket' = $Ticket
        'user' = $Sid
        'answer-until' = $Until
        'agreed' = $Agreed
        'policy' = $Request.Policy
        'files' = $files
    })
}

# The loader with its three values, without its comments: the shorter, the better for
# a command line. Each value must have the form that cannot end a text in quotes.
function ConvertTo-LoaderText {
    param([string] $SetupHash, [string] $OrderHash, [string] $Staging)
    foreach ($hash in @($SetupHash, $OrderHash)) {
        Assert-Form -Value $hash -Pattern $HashPattern -Place 'a hash for the loader'
    }
    Assert-Form -Value $Staging -Pattern '\A[A-Za-z0-9+/]{4,4000}={0,2}\z' -Place 'a path for the loader'
    $lines = foreach ($line in $LoaderText.Split("`n")) {
        $text = $line.Trim()
        if (($text.Length -gt 0) -and (-not $text.StartsWith('#'))) {
            $text
        }
    }
    ($lines -join "`n").Replace('__STAGING__', $Staging).Replace('__SETUP__', $SetupHash).Replace('__ORDER__', $OrderHash)
}

function New-HostAnswer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1
        'state' = $State
        'detail' = $Detail
        'installed' = $null
        'policy' = $null
        'user' = $null
        'elevated' = $false
        'over-the-shoulder' = $false
        'other-users' = @()
        'done' = @()
        'checks' = @()
    }
}

function New-Outcome {
    param([string] $State, $Detail)
    @{ State = $State; Detail = $Detail; Done = @(); Administrator = $null }
}

# Windows did not start the program. The numbers are those of winerror.h; the text
# that Windows has for them is localised.
function Get-StartOutcome {
    param([int] $Code, [hashtable] $Caller)
    if ((-not $Caller.Administrator) -and $Caller.StandardDenied -and (@(5, 1223, 1260) -contains $Code)) {
        return New-Outcome -State 'forbidden' -Detail ('a policy of this machine refuses every request for administrator rights from an account that is no administrator ({0}); install from an administrator''s account' -f $Code)
    }
    if ($Code -eq 1223) {
        if ($Caller.Administrator) {
            return New-Outcome -State 'declined' -Detail 'the question for administrator rights was declined, or not answered in time; a question that waits shows as a blinking shield in the task bar'
        }
        return New-Outcome -State 'declined' -Detail 'this account is no administrator, so Windows asked for the name and the password of one, and that was declined or not answered in time'
    }
    if (($Code -ge 4550) -and ($Code -le 4599)) {
        return New-Outcome -State 'forbidden' -Detail ('Smart App Control or another code integrity policy of this machine keeps PowerShell from being started with administrator rights ({0})' -f $Code)
    }
    if (@(786, 1260, 1277) -contains $Code) {
        return New-Outcome -State 'forbidden' -Detail ('a group policy of this machine (AppLocker or software restriction) keeps PowerShell from being started with administrator rights ({0})' -f $Code)
    }
    if ($Code -eq 5) {
        return New-Outcome -State 'forbidden' -Detail 'Windows denies access to PowerShell with administrator rights (5)'
    }
    New-Outcome -State 'failed' -Detail ('Windows did not start PowerShell with administrator rights (error {0})' -f $Code)
}

# The setup ran and left no result of its own: its exit code is all there is.
function Get-ExitOutcome {
    param($Code)
    if ($null -eq $Code) {
        return New-Outcome -State 'failed' -Detail 'the elevated setup ended without a result'
    }
    switch ($Code) {
        20 { return New-Outcome -State 'refused' -Detail 'the question in the elevated window was not answered with yes' }
        (-1073741510) { return New-Outcome -State 'refused' -Detail 'the elevated window was closed' }
        1 { return New-Outcome -State 'constrained' -Detail 'a policy of this machine keeps PowerShell in constrained language mode with administrator rights too' }
        21 { return New-Outcome -State 'verification-failed' -Detail 'a file was changed between its check and its use; another program of this user may be at work' }
        22 { return New-Outcome -State 'failed' -Detail 'the setup was started without administrator rights: user account control is off, and this account is no administrator; install from an administrator''s account' }
        24 { return New-Outcome -State 'other-user-version' -Detail 'another version is installed for other users of this machine' }
        25 { return New-Outcome -State 'refused' -Detail 'the question in the elevated window was answered too late; nothing was changed' }
        26 { return New-Outcome -State 'failed' -Detail 'the folder wslmesh under Program Files is a link, a file or somebody else''s; remove it, then install again' }
        27 { return New-Outcome -State 'failed' -Detail 'another sync was running for more than 5 s; nothing was changed, so ask for it again' }
        default { return New-Outcome -State 'failed' -Detail ('the elevated setup ended with code {0} and without a result' -f $Code) }
    }
}

# The result file counts when it answers this order; an older one says nothing.
function Get-ResultOutcome {
    param($Text, [int] $Ticket)
    if ($null -eq $Text) {
        return $null
    }
    try {
        $result = ConvertFrom-RequestText -Text $Text -Place 'result'
        Assert-Fields -Object $result -Place 'result' -Names @('version', 'ticket', 'state', 'detail', 'administrator', 'done')
        if (($result.'ticket' -isnot [int]) -or ($result.'ticket' -ne $Ticket)) {
            return $null
        }
        [void] (ConvertTo-Choice -Value $result.'state' -Choices @('installed', 'removed', 'failed') -Place 'state')
        $outcome = New-Outcome -State $result.'state' -Detail $result.'detail'
        $outcome.Done = @($result.'done')
        $outcome.Administrator = $result.'administrator'
        $outcome
    } catch [System.IO.InvalidDataException] {
        $null
    }
}

function Get-RunOutcome {
    param([hashtable] $Run, $ResultText, [int] $Ticket, [hashtable] $Caller)
    if (-not $Run.Started) {
        return Get-StartOutcome -Code $Run.Code -Caller $Caller
    }
    if (-not $Run.Ended) {
        return New-Outcome -State 'refused' -Detail 'the question in the elevated window was not answered in time; a later answer changes nothing'
    }
    $outcome = Get-ResultOutcome -Text $ResultText -Ticket $Ticket
    if ($null -ne $outcome) {
        return $outcome
    }
    if ($Run.Code -eq 0) {
        # An uninstall that left nothing has no place for a result: the caller looks.
        return New-Outcome -State 'removed' -Detail $null
    }
    Get-ExitOutcome -Code $Run.Code
}

# The fields that every answer has in the same way.
function Add-Situation {
    param([System.Collections.IDictionary] $Answer, [hashtable] $Caller, [hashtable] $Situation, [hashtable] $Places)
    $Answer['user'] = $Caller.Sid
    $Answer['elevated'] = $Caller.Elevated
    $Answer['other-users'] = @($Situation.Others)
    $Answer['policy'] = $Situation.Policy
    if ($null -ne $Situation.Installed) {
        $relay = $null
        if ($null -ne $Situation.Hashes['wslmesh-relay.exe']) {
            $relay = $Places.Program + '\wslmesh-relay.exe'
        }
        $Answer['installed'] = [ordered] @{
            'version' = $Situation.Installed.Version
            'contract' = $Situation.Installed.Contract
            'relay' = $relay
        }
    }
    $Answer
}

function Get-Situation {
    param([hashtable] $Caller, [hashtable] $Places)
    $script:Step = 'read the registry'
    $own = Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid)
    $policy = $null
    if ($own.ContainsKey('policy')) {
        try {
            $policy = ConvertTo-PolicyTable -Text $own['policy']
        } catch [System.IO.InvalidDataException] {
            # It was not written by this version: as good as none.
            $null = $_
        }
    }
    $situation = @{
        Installed = Read-Installed -Values (Get-RegistryValues -Path 'SOFTWARE\wslmesh')
        Policy = $policy
        HasPolicy = $own.ContainsKey('policy')
        Ledger = @((Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid + '\ledger')).Keys)
        HasKey = @(Get-RegistryKeys -Path 'SOFTWARE\wslmesh') -ccontains $Caller.Sid
        Others = @(Find-OtherUsers -Sid $Caller.Sid)
        Hashes = @{}
        Tasks = $null
        HasFolder = $false
        HasSelection = $false
    }
    $script:Step = 'look at the tasks'
    $situation.Tasks = Get-TaskFacts -Sid $Caller.Sid
    $script:Step = 'look at the files'
    foreach ($name in $InstalledFiles) {
        $situation.Hashes[$name] = Get-FileHashText -Path ($Places.Program + '\' + $name)
    }
    $own = $Places.Program + '\' + $Caller.Sid
    $situation.HasFolder = Test-Folder -Path $own
    $situation.HasSelection = Test-File -Path ($own + '\inbox\selection.json')
    $situation
}

function Test-SameTask {
    param($Task, [hashtable] $Action)
    ($null -ne $Task) -and $Task.Enabled -and ($Task.Program -ceq $Action.Program) -and ($Task.Arguments -ceq $Action.Arguments)
}

# Whether an install would change nothing.
function Test-Unchanged {
    param([hashtable] $Situation, [hashtable] $Request, [hashtable] $Actions)
    if (($null -eq $Situation.Installed) -or ($null -eq $Situation.Policy) -or (-not $Situation.HasSelection)) {
        return $false
    }
    $installed = ConvertTo-AsciiJson -Answer (New-Installed -Package $Request.Policy['package'] -Hashes $Request.Hashes)
    if ($Situation.Installed.Text -cne $installed) {
        return $false
    }
    if ((ConvertTo-AsciiJson -Answer $Situation.Policy) -cne (ConvertTo-AsciiJson -Answer $Request.Policy)) {
        return $false
    }
    foreach ($name in $InstalledFiles) {
        if ($Situation.Hashes[$name] -cne $Request.Hashes[$name]) {
            return $false
        }
    }
    if (-not (Test-SameTask -Task $Situation.Tasks.Forward -Action $Actions.Forward)) {
        return $false
    }
    if (-not $Request.Policy['logon']) {
        return ($null -eq $Situation.Tasks.Logon)
    }
    Test-SameTask -Task $Situation.Tasks.Logon -Action $Actions.Logon
}

# Whether there is nothing left that only an administrator could remove.
function Test-Clean {
    param([hashtable] $Situation)
    if ($Situation.HasKey -or $Situation.HasFolder -or ($null -ne $Situation.Tasks.Forward) -or ($null -ne $Situation.Tasks.Logon)) {
        return $false
    }
    # What all users share goes with the last of them.
    $files = @($Situation.Hashes.Values | Where-Object { $null -ne $_ })
    ($Situation.Others.Count -gt 0) -or (($null -eq $Situation.Installed) -and ($files.Count -eq 0))
}

# What an uninstall took away: what stood before it.
function Get-RemovedWords {
    param([hashtable] $Situation)
    $rules = @($Situation.Ledger | Where-Object { $_ -clike 'tcp/*' }).Count
    $firewall = @($Situation.Ledger | Where-Object { $_ -clike 'firewall/*' }).Count
    if ($rules -gt 0) {
        'port forwards: {0}' -f $rules
    }
    if ($firewall -gt 0) {
        'firewall rules: {0}' -f $firewall
    }
    if ($null -ne $Situation.Tasks.Forward) {
        'the task that makes forwards'
    }
    if ($null -ne $Situation.Tasks.Logon) {
        'the task that starts the distribution after a logon'
    }
    if ($Situation.HasPolicy) {
        'the policy and the list of what is ours'
    }
    if ($Situation.Others.Count -gt 0) {
        'the program files stay: other users of this machine need them ({0})' -f $Situation.Others.Count
    } elseif ($null -ne $Situation.Installed) {
        'the program files'
    }
}

# Agent and person together have 150 s. The question for administrator rights waits
# 120 s at most; an answer in the elevated window counts until AnswerSeconds.
$AnswerSeconds = 125
$WaitSeconds = 140

function New-Mismatch {
    param([string] $Message)
    New-Object System.Security.Cryptography.CryptographicException($Message)
}

# Copies what the elevated side will read to the Windows drive: an administrator's
# account, which may be another one, sees no files of WSL. Returns the hash of
# setup.ps1. Each file is read once, and what was hashed is what is written.
function Publish-Files {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places)
    $names = @('setup.ps1')
    if ($Request.Action -ceq 'install') {
        $names += $InstalledFiles
    }
    Reset-Staging -Path $Places.Staging -Private $Caller.Elevated
    $setup = $null
    foreach ($name in $names) {
        $bytes = (Read-FileBytes -Path ((Get-SourceFolder) + '\' + $name)).Bytes
        $hash = Get-Hash -Bytes $bytes
        if ($Request.Hashes[$name] -cne $hash) {
            throw (New-Mismatch -Message ('{0} beside host.ps1 is not the file that was asked for' -f $name))
        }
        Write-FileBytes -Path ($Places.Staging + '\' + $name) -Bytes $bytes
        if ($name -ceq 'setup.ps1') {
            $setup = $hash
        }
    }
    $setup
}

function Invoke-Setup {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places)
    $script:Step = 'put the files where the elevated setup reads them'
    $ticket = Get-Ticket
    try {
        $setup = Publish-Files -Request $Request -Caller $Caller -Places $Places
        $order = (ConvertTo-Bytes -Text (ConvertTo-OrderText -Request $Request -Sid $Caller.Sid -Ticket $ticket -Until ((Get-UnixTime) + $AnswerSeconds) -Agreed $Request.Agreed)).Bytes
        Write-FileBytes -Path ($Places.Staging + '\order.json') -Bytes $order
        $loader = ConvertTo-LoaderText -SetupHash $setup -OrderHash (Get-Hash -Bytes $order) -Staging (ConvertTo-Base64 -Text $Places.Staging -Wide $false)
        $script:Step = 'start the elevated setup'
        $encoded = ConvertTo-Base64 -Text $loader -Wide $true
        if ($Request.Agreed) {
            $run = Start-Agreed -Loader $encoded -Seconds $WaitSeconds
        } else {
            $run = Start-Elevated -Loader $encoded -Raise (-not $Caller.Elevated) -Seconds $WaitSeconds
        }
        $script:Step = 'read the result of the elevated setup'
        Get-RunOutcome -Run $run -ResultText (Read-SmallFile -Path ($Places.Program + '\' + $Caller.Sid + '\setup.json')) -Ticket $ticket -Caller $Caller
    } finally {
        Clear-Staging -Path $Places.Staging
    }
}

# What keeps the elevated scripts from running at all, found before anybody is asked.
function Get-Obstacle {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Situation)
    if ($Request.Agreed -and (-not $Caller.Elevated)) {
        return New-Outcome -State 'invalid-request' -Detail 'agreed: only a caller that has administrator rights already may agree without a question'
    }
    if ($Request.Action -ceq 'install') {
        $words = Get-ContractObstacle -Installed $Situation.Installed -Others $Situation.Others
        if ($null -ne $words) {
            return New-Outcome -State 'other-user-version' -Detail $words
        }
        if (@('AllSigned', 'Restricted') -contains $Caller.ScriptPolicy) {
            return New-Outcome -State 'constrained' -Detail ('a group policy of this machine allows PowerShell only {0} scripts, and the elevated script is not signed; an administrator has to allow it' -f $Caller.ScriptPolicy)
        }
    }
    if ((-not $Request.Agreed) -and ($Caller.Session -eq 0)) {
        return New-Outcome -State 'no-desktop' -Detail 'this runs in the session of services: nobody can be asked; start the distribution from a logged-on desktop'
    }
    $null
}

# What stands afterwards is asked for in any case: it decides, and not what the setup
# says of itself.
function Invoke-Install {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places, [hashtable] $Situation)
    $actions = Get-TaskActions -Sid $Caller.Sid -Places $Places -Policy $Request.Policy
    if (Test-Unchanged -Situation $Situation -Request $Request -Actions $actions) {
        return New-Outcome -State 'nothing-to-do' -Detail 'this version is installed with this policy'
    }
    $obstacle = Get-Obstacle -Request $Request -Caller $Caller -Situation $Situation
    if ($null -ne $obstacle) {
        return $obstacle
    }
    $outcome = Invoke-Setup -Request $Request -Caller $Caller -Places $Places
    $after = Get-Situation -Caller $Caller -Places $Places
    if (Test-Unchanged -Situation $after -Request $Request -Actions $actions) {
        $outcome.State = 'installed'
        $outcome.Detail = $null
    } elseif (@('installed', 'removed') -ccontains $outcome.State) {
        $outcome.State = 'failed'
        $outcome.Detail = 'the elevated setup says that it is done, but what stands is not what was asked for'
    }
    $outcome
}

# With administrator rights nothing below the user's own folder is touched: any program
# of the user may have made it a link to another place.
function Remove-UserPart {
    param([hashtable] $Caller, [hashtable] $Places)
    if (-not $Caller.Elevated) {
        return Remove-UserFolder -Path $Places.User
    }
    if (Test-Folder -Path $Places.User) {
        'not removed: the folder {0}, which is left to a call without administrator rights; it holds no rights and no rules' -f $Places.User
    }
}

function Invoke-Uninstall {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places, [hashtable] $Situation)
    $outcome = New-Outcome -State 'nothing-to-do' -Detail 'nothing is installed for this user'
    if (-not (Test-Clean -Situation $Situation)) {
        $obstacle = Get-Obstacle -Request $Request -Caller $Caller -Situation $Situation
        if ($null -ne $obstacle) {
            return $obstacle
        }
        $outcome = Invoke-Setup -Request $Request -Caller $Caller -Places $Places
        if (-not (Test-Clean -Situation (Get-Situation -Caller $Caller -Places $Places))) {
            if ($outcome.State -ceq 'removed') {
                $outcome.State = 'failed'
                $outcome.Detail = 'the elevated setup ended, but not everything of ours is gone'
            }
            return $outcome
        }
        $outcome.State = 'removed'
        $outcome.Detail = $null
        $outcome.Done = @(Get-RemovedWords -Situation $Situation)
    }
    $script:Step = 'remove the files of this user'
    $outcome.Done += @(Remove-UserPart -Caller $Caller -Places $Places)
    $outcome
}

function Get-HostAnswer {
    param([string] $Text)
    $script:Step = 'check the request'
    $request = ConvertTo-HostRequest -Text $Text
    $script:Step = 'find out who runs this'
    $caller = Get-Account
    $places = Get-Places
    if ($caller.Elevated) {
        $places.Staging = Get-PrivatePath
    }
    if ($request.Action -ceq 'check') {
        $answer = New-HostAnswer -State 'checked' -Detail $null
        $answer['checks'] = @(Get-Checks -Caller $caller -Places $places -Probe $request.Probe)
        return Add-Situation -Answer $answer -Caller $caller -Situation (Get-Situation -Caller $caller -Places $places) -Places $places
    }
    $situation = Get-Situation -Caller $caller -Places $places
    $outcome = New-Outcome -State 'looked' -Detail $null
    if ($request.Action -ceq 'install') {
        $outcome = Invoke-Install -Request $request -Caller $caller -Places $places -Situation $situation
    }
    if ($request.Action -ceq 'uninstall') {
        $outcome = Invoke-Uninstall -Request $request -Caller $caller -Places $places -Situation $situation
    }
    $answer = New-HostAnswer -State $outcome.State -Detail $outcome.Detail
    $answer['done'] = @($outcome.Done)
    $answer['over-the-shoulder'] = ($null -ne $outcome.Administrator) -and ($outcome.Administrator -cne $caller.Sid)
    Add-Situation -Answer $answer -Caller $caller -Situation (Get-Situation -Caller $caller -Places $places) -Places $places
}

function Get-HostAnswerText {
    try {
        $script:Step = 'read standard input'
        $answer = Get-HostAnswer -Text (Read-StandardInput)
    } catch [System.IO.InvalidDataException] {
        $answer = New-HostAnswer -State 'invalid-request' -Detail $_.Exception.Message
    } catch [System.Security.Cryptography.CryptographicException] {
        $answer = New-HostAnswer -State 'verification-failed' -Detail $_.Exception.Message
    } catch {
        $answer = New-HostAnswer -State 'failed' -Detail ('{0}: {1}' -f $script:Step, $_.Exception.Message)
    }
    ConvertTo-AsciiJson -Answer $answer
}

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

# Where this script lies, with the files that belong to it.
function Get-SourceFolder {
    $PSScriptRoot
}

function Get-Ticket {
    (New-Object System.Random).Next(1, 2147483647)
}

function ConvertTo-Bytes {
    param([string] $Text)
    @{ Bytes = [System.Text.Encoding]::UTF8.GetBytes($Text) }
}

# Wide: two bytes a character, as PowerShell wants a command.
function ConvertTo-Base64 {
    param([string] $Text, [bool] $Wide)
    if ($Wide) {
        return [System.Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes($Text))
    }
    [System.Convert]::ToBase64String([System.Text.Encoding]::UTF8.GetBytes($Text))
}

function Test-Folder {
    param([string] $Path)
    [System.IO.Directory]::Exists($Path)
}

# $null where the file is not there, or not readable.
function Get-FileHashText {
    param([string] $Path)
    if (-not [System.IO.File]::Exists($Path)) {
        return $null
    }
    try {
        Get-Hash -Bytes (Read-FileBytes -Path $Path).Bytes
    } catch {
        $null
    }
}

function Read-SmallFile {
    param([string] $Path)
    if (-not [System.IO.File]::Exists($Path)) {
        return $null
    }
    try {
        [System.Text.Encoding]::UTF8.GetString((Read-FileBytes -Path $Path).Bytes)
    } catch {
        $null
    }
}

function Write-FileBytes {
    param([string] $Path, [byte[]] $Bytes)
    [System.IO.File]::WriteAllBytes($Path, $Bytes)
}

# A place for a call with administrator rights: a name that nobody can guess, and so
# nobody can take before it.
function Get-PrivatePath {
    $windows = [Environment]::GetFolderPath('Windows')
    $windows + '\Temp\wslmesh-' + [System.IO.Path]::GetRandomFileName()
}

# Private: the folder must not be there before, and is born with an access list (and an
# owner) that leaves out everyone but administrators and the system.
function Reset-Staging {
    param([string] $Path, [bool] $Private)
    if (-not $Private) {
        Clear-Staging -Path $Path
        [void] [System.IO.Directory]::CreateDirectory($Path)
        return
    }
    if ([System.IO.Directory]::Exists($Path) -or [System.IO.File]::Exists($Path)) {
        throw ('{0} is there already' -f $Path)
    }
    $sections = [System.Security.AccessControl.AccessControlSections] 'Owner, Access'
    $rights = New-Object System.Security.AccessControl.DirectorySecurity
    $rights.SetSecurityDescriptorSddlForm('O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)', $sections)
    [void] [System.IO.Directory]::CreateDirectory($Path, $rights)
    $owner = [System.IO.Directory]::GetAccessControl($Path, [System.Security.AccessControl.AccessControlSections]::Owner).GetOwner([System.Security.Principal.SecurityIdentifier])
    if ([string] $owner.Value -cne 'S-1-5-32-544') {
        throw ('{0} belongs to {1} and not to the administrators' -f $Path, $owner.Value)
    }
}

# By the names of what was put there. A leftover is replaced by the next call, so a
# failure here spoils nothing.
function Clear-Staging {
    param([string] $Path)
    try {
        if ([System.IO.Directory]::Exists($Path)) {
            foreach ($name in @('setup.ps1', 'order.json') + $InstalledFiles) {
                [System.IO.File]::Delete($Path + '\' + $name)
            }
            [System.IO.Directory]::Delete($Path)
        }
    } catch {
        $null = $_
    }
}

# A folder and what is below it. What leads to another place is taken away and not
# followed.
function Remove-Tree {
    param([string] $Path)
    $attributes = [int] [System.IO.File]::GetAttributes($Path)
    if (($attributes -band [int] [System.IO.FileAttributes]::ReparsePoint) -eq 0) {
        foreach ($file in [System.IO.Directory]::GetFiles($Path)) {
            [System.IO.File]::Delete($file)
        }
        foreach ($folder in [System.IO.Directory]::GetDirectories($Path)) {
            Remove-Tree -Path $folder
        }
    }
    [System.IO.Directory]::Delete($Path)
}

# The user's own folder, without administrator rights. Words for what was done.
function Remove-UserFolder {
    param([string] $Path)
    if (-not [System.IO.Directory]::Exists($Path)) {
        return
    }
    try {
        Remove-Tree -Path $Path
        'the folder {0}' -f $Path
    } catch {
        'not removed: the folder {0} ({1}); it holds no rights and no rules' -f $Path, $_.Exception.Message
    }
}

# The number by which Windows says why a program did not start; 0 for another cause.
function Get-NativeCode {
    param([System.Exception] $Exception)
    $cause = $Exception
    while ($null -ne $cause) {
        if ($cause -is [System.ComponentModel.Win32Exception]) {
            return $cause.NativeErrorCode
        }
        $cause = $cause.InnerException
    }
    0
}

function New-SetupStart {
    param([string] $Loader)
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = [Environment]::SystemDirectory + '\WindowsPowerShell\v1.0\powershell.exe'
    $start.Arguments = '-NoProfile -ExecutionPolicy Bypass -EncodedCommand ' + $Loader
    $start.WorkingDirectory = [Environment]::SystemDirectory
    $start
}

# The exit code of a process of another rights' level is readable on Windows 10; where
# it is not, the result file speaks alone.
function Wait-Setup {
    param([System.Diagnostics.Process] $Process, [long] $Milliseconds)
    $limit = [int] [Math]::Max(1000, $Milliseconds)
    if (-not $Process.WaitForExit($limit)) {
        return @{ Started = $true; Ended = $false; Code = $null }
    }
    $code = $null
    try {
        $code = $Process.ExitCode
    } catch {
        $null = $_
    }
    @{ Started = $true; Ended = $true; Code = $code }
}

# A window of its own, in which the person is asked. Raise: Windows asks for
# administrator rights first, and this call waits for that.
function Start-Elevated {
    param([string] $Loader, [bool] $Raise, [int] $Seconds)
    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    $start = New-SetupStart -Loader $Loader
    $start.UseShellExecute = $true
    if ($Raise) {
        $start.Verb = 'runas'
    }
    try {
        $process = [System.Diagnostics.Process]::Start($start)
    } catch {
        $code = Get-NativeCode -Exception $_.Exception
        if ($code -eq 0) {
            throw
        }
        return @{ Started = $false; Ended = $false; Code = $code }
    }
    Wait-Setup -Process $process -Milliseconds ($Seconds * 1000 - $watch.ElapsedMilliseconds)
}

# For a caller that has administrator rights and agreed already: no window. The
# setup takes that agreement only where its standard input is no console.
function Start-Agreed {
    param([string] $Loader, [int] $Seconds)
    $start = New-SetupStart -Loader $Loader
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($start)
    $process.StandardInput.Close()
    # Read while it runs: a full pipe would stop it. What it says is for a window.
    [void] $process.StandardOutput.ReadToEndAsync()
    [void] $process.StandardError.ReadToEndAsync()
    Wait-Setup -Process $process -Milliseconds ($Seconds * 1000)
}

function Invoke-Script {
    if ([string] $ExecutionContext.SessionState.LanguageMode -cne 'FullLanguage') {
        # Constrained by policy: no .NET call is allowed, so the answer is fixed text.
        Write-Host '{"version":1,"state":"constrained","detail":"a policy of this machine (AppLocker, Windows Defender Application Control or Smart App Control) keeps PowerShell in constrained language mode","installed":null,"policy":null,"user":null,"elevated":false,"over-the-shoulder":false,"other-users":[],"done":[],"checks":[]}'
    } else {
        Write-Answer -Text (Get-HostAnswerText)
    }
    exit 0
}
