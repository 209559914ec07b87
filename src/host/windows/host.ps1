#Requires -Version 5.1
# host.ps1: installs, removes and examines the Windows side of wslmesh for the Windows user who runs it. A
# JSON request on standard input, one JSON answer on standard output, exit code 0 whenever an answer was
# printed. It has no administrator rights; what needs them is done by setup.ps1, which it starts after Windows
# has asked the person.

# The stream that this script came by; none where it is a file.
param($Stream)

# Request text -> a table: Action, Policy, Hashes, Agreed, Probe. 'agreed' may be absent,
# and counts as false then: the check of fields knows no choice.
function ConvertTo-HostRequest {
    param([string] $Text)
    $request = ConvertFrom-RequestText -Text $Text -Place 'request'
    $given = @($request.PSObject.Properties | ForEach-Object { $_.Name })
    Assert-Valid -Value ($given -ccontains 'action') -Message 'request: must be an object with the field "action"'
    $action = $request.'action'
    $actions = @{
        'look' = @{}; 'check' = @{ 'probe' = [bool] }; 'uninstall' = @{ 'files' = $List }
        'install' = @{ 'policy' = [object]; 'package' = $PackagePattern; 'files' = $List }
    }
    Assert-Value -Value $action -Kind @($actions.Keys | Sort-Object) -Place 'action'
    $fields = $actions[$action] + @{ 'version' = @(1, 1); 'action' = [string] }
    $result = @{ Action = $action; Policy = $null; Hashes = $null; Agreed = $false; Probe = $false }
    $optional = (@('install', 'uninstall') -ccontains $action) -and ($given -ccontains 'agreed')
    if ($optional) { $fields['agreed'] = [bool] }
    Assert-Fields -Object $request -Place 'request' -Fields $fields
    if ($optional) { $result.Agreed = $request.'agreed' }
    if ($action -ceq 'install') {
        $result.Policy = ConvertTo-PolicyTable -Text (ConvertTo-Json -InputObject $request.'policy' -Depth 6 -Compress)
        Assert-Valid -Value ($request.'package' -ceq $result.Policy['package']) -Message 'package: must be that of the policy'
        $result.Hashes = ConvertTo-Hashes -Files $request.'files' -Names @('forward.ps1', 'setup.ps1', 'wslmesh-relay.exe')
    }
    if ($action -ceq 'uninstall') { $result.Hashes = ConvertTo-Hashes -Files $request.'files' -Names @('setup.ps1') }
    if ($action -ceq 'check') { $result.Probe = $request.'probe' }
    $result
}

# What follows the request: for each of its files a line with the length, and the bytes.
function Split-Files {
    param([byte[]] $Bytes, [int] $First, [string[]] $Names)
    $files = @{}
    foreach ($name in $Names) {
        $end = [Array]::IndexOf($Bytes, [byte] 10, $First)
        $length = [System.Text.Encoding]::ASCII.GetString($Bytes, $First, [Math]::Max(0, $end - $First))
        Assert-Value -Value $length -Kind '\A[0-9]{1,8}\z' -Place ($name + ': its length')
        $First = $end + 1 + [int] $length
        Assert-Valid -Value ($First -le $Bytes.Length) -Message ($name + ': it breaks off')
        $files[$name] = New-Object byte[] ([int] $length)
        [Array]::Copy($Bytes, $end + 1, $files[$name], 0, [int] $length)
    }
    Assert-Valid -Value ($First -eq $Bytes.Length) -Message 'request: more follows than its files'
    $files
}

# The loader with its three values, without its comments: the shorter, the better for
# a command line. Each value must have the form that cannot end a text in quotes.
function ConvertTo-LoaderText {
    param([string] $SetupHash, [string] $OrderHash, [string] $Staging)
    foreach ($hash in @($SetupHash, $OrderHash)) { Assert-Value -Value $hash -Kind $HashPattern -Place 'a hash for the loader' }
    Assert-Value -Value $Staging -Kind '\A[A-Za-z0-9+/]{4,4000}={0,2}\z' -Place 'a path for the loader'
    $lines = $LoaderText.Split("`n") | ForEach-Object { $_.Trim() } | Where-Object { ($_ -cne '') -and (-not $_.StartsWith('#')) }
    ($lines -join "`n").Replace('__STAGING__', $Staging).Replace('__SETUP__', $SetupHash).Replace('__ORDER__', $OrderHash)
}

function New-HostAnswer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1; 'state' = $State; 'detail' = $Detail; 'installed' = $null; 'policy' = $null
        'user' = $null; 'elevated' = $false; 'over-the-shoulder' = $false; 'other-users' = @()
        'done' = @(); 'checks' = @(); 'selection' = $null
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
            return New-Outcome -State 'declined' -Detail 'the question for administrator rights was declined, or not answered in time; run this again and choose Yes (a question that waits shows as a blinking shield in the task bar)'
        }
        return New-Outcome -State 'declined' -Detail 'this account is no administrator, so Windows asked for the name and the password of one, and that was declined or not answered in time; run this again with an administrator at hand'
    }
    if ((Test-PolicyError -Code $Code) -and ($Code -ge 4550)) {
        return New-Outcome -State 'forbidden' -Detail ('Smart App Control or another code integrity policy of this machine keeps PowerShell from being started with administrator rights ({0}); ask its administrator' -f $Code)
    }
    if (Test-PolicyError -Code $Code) {
        return New-Outcome -State 'forbidden' -Detail ('a group policy of this machine (AppLocker or software restriction) keeps PowerShell from being started with administrator rights ({0}); ask its administrator' -f $Code)
    }
    if ($Code -eq 5) {
        return New-Outcome -State 'forbidden' -Detail 'Windows denies access to PowerShell with administrator rights (5); ask the machine''s administrator'
    }
    New-Outcome -State 'failed' -Detail ('Windows did not start PowerShell with administrator rights (error {0}); try again, or restart Windows' -f $Code)
}

# The setup ran and left no result of its own: its exit code is all there is.
$ExitOutcomes = @{
    20 = @('refused', 'the question in the elevated window was not answered with yes; run this again and type yes if you agree')
    -1073741510 = @('refused', 'the elevated window was closed; run this again and answer there')
    1 = @('failed', 'PowerShell with administrator rights ended before the setup began (1); a policy of this machine or an antivirus program may have ended it; ask the machine''s administrator')
    21 = @('verification-failed', 'a file was changed between its check and its use; run this again, and if it recurs look for a program that changes files')
    22 = @('failed', 'the setup was started without administrator rights: user account control is off, and this account is no administrator; install from an administrator''s account')
    24 = @('other-user-version', 'another version is installed for other users of this machine; bring them to one version first')
    25 = @('refused', 'the question in the elevated window was answered too late; nothing was changed, so run this again')
    26 = @('failed', 'the folder wslmesh under Program Files is a link, a file or another account''s; remove it, then install again')
    27 = @('failed', 'another sync was running for more than 10 s; nothing was changed, so ask for it again')
    28 = @('constrained', 'a policy of this machine keeps PowerShell in constrained language mode with administrator rights too; ask its administrator')
    29 = @('failed', 'the elevated setup could not read a file that was put there for it; nothing was changed, so run it again')
}

# The result file counts when it answers this order; an older one says nothing. 'agreed': the person said yes,
# and the work is not done.
function Get-ResultOutcome {
    param([string] $Text, [int] $Ticket)
    try {
        $result = ConvertFrom-RequestText -Text $Text -Place 'result'
        Assert-Fields -Object $result -Place 'result' -Fields @{
            'version' = [object]; 'ticket' = @($Ticket, $Ticket); 'state' = @('agreed', 'installed', 'removed', 'failed')
            'detail' = $null; 'administrator' = $null; 'done' = [object]
        }
        @{ State = $result.'state'; Detail = $result.'detail'; Done = @($result.'done'); Administrator = $result.'administrator' }
    } catch [System.IO.InvalidDataException] {
        $null
    }
}

function Get-RunOutcome {
    param([hashtable] $Run, $Outcome, [hashtable] $Caller)
    if (-not $Run.Started) { return Get-StartOutcome -Code $Run.Code -Caller $Caller }
    if (($null -ne $Outcome) -and ($Outcome.State -cne 'agreed')) { return $Outcome }
    if ($Run.Ended) {
        # An uninstall that left nothing has no place for a result: the caller looks.
        if ($Run.Code -eq 0) { return New-Outcome -State 'removed' -Detail $null }
        $found = @('failed', ('the elevated setup ended without a result (code {0}); run it again' -f $Run.Code))
        if (($null -ne $Run.Code) -and $ExitOutcomes.ContainsKey($Run.Code)) { $found = $ExitOutcomes[$Run.Code] }
        return New-Outcome -State $found[0] -Detail $found[1]
    }
    if ($null -ne $Outcome) { return New-Outcome -State 'unfinished' -Detail 'the elevated window is still open or at work; look again with "wslmesh host check"' }
    New-Outcome -State 'refused' -Detail 'the question in the elevated window was not answered within two minutes: nothing was changed; run it again'
}

# What is there of us on this machine. Whole: with tasks and folders, which an install or an uninstall goes by.
function Get-Installation {
    param([hashtable] $Caller, [hashtable] $Places, [bool] $Whole)
    $script:Step = 'read the registry'
    $own = Get-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid)
    $policy = $null
    try {
        # Version 1 knew NAT alone, and no backend: what a person chose there is kept.
        $text = [string] $own['policy'] -creplace '\A\{"version":1,', '{"version":2,"mode":"nat",' -creplace '("firewall":"[a-z]+")\}', '$1,"backend":"auto"}'
        $policy = ConvertTo-PolicyTable -Text $text
    } catch [System.IO.InvalidDataException] {
        # There is none, or no version of ours wrote it: as good as none.
    }
    $folder = $Places.Program + '\' + $Caller.Sid
    $installation = @{
        Installed = Read-Installed -Values (Get-WinRegistryValues -Path 'SOFTWARE\wslmesh')
        Policy = $policy; HasPolicy = $own.ContainsKey('policy')
        Ledger = @((Get-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid + '\ledger')).Keys)
        HasKey = @(Get-WinRegistryKeys -Path 'SOFTWARE\wslmesh') -ccontains $Caller.Sid
        Others = @(Find-OtherUsers -Sid $Caller.Sid); Hashes = @{}; Tasks = $null
        HasFolder = Test-WinFolder -Path $folder
        HasSelection = Test-WinFile -Path ($folder + '\inbox\selection.json')
        Forbidden = $own['relay'] -ceq 'forbidden'
        # A result that was not put in place: left of a setup that was ended.
        HasDraft = Test-WinFile -Path ($folder + '\setup.json.new')
    }
    if ($Whole) {
        $script:Step = 'look at the tasks'
        $installation.Tasks = Get-TaskFacts -Sid $Caller.Sid
    }
    $script:Step = 'look at the files'
    foreach ($name in $InstalledFiles) {
        $installation.Hashes[$name] = Get-FileHashText -Path ($Places.Program + '\' + $name)
    }
    $installation
}

# $null where the file is not there, '' for one that cannot be read.
function Get-FileHashText {
    param([string] $Path)
    try {
        Get-Hash -Bytes (Read-WinFile -Path $Path -Share 'Read').Bytes
    } catch {
        if (Test-Absence -Failure $_) { return $null }
        ''
    }
}

function Test-SameTask {
    param($Task, [hashtable] $Action)
    ($null -ne $Task) -and $Task.Enabled -and ($Task.Program -ceq $Action.Program) -and ($Task.Arguments -ceq $Action.Arguments)
}

# Whether Windows keeps the relay from being started by this user, as far as that can be seen: with administrator
# rights it cannot, and one that is missing is installed again in any case.
function Test-RelayForbidden {
    param([hashtable] $Installation, [hashtable] $Caller)
    if ($Caller.Elevated -or ($null -eq $Installation.Hashes['wslmesh-relay.exe'])) { return $Installation.Forbidden }
    Test-PolicyError -Code (Invoke-WinProgram -Path (Get-RelayPath) -Arguments '--version' -Seconds 5).Error
}

# Whether the firewall has the rules of a policy. One that is not running has none.
function Test-Firewall {
    param([hashtable] $Policy, [string] $Sid)
    $forwards = @(Get-OwnForwards -Sid $Sid -Policy $Policy)
    $answer = Sync-Firewall -Policy $Policy -Forwards $forwards -Owned (Read-Rules -Sid $Sid).Owned -Sid $Sid -Guest (Find-GuestKind -Policy $Policy) -Write $false
    # Nor may this account be able to ask for the rules of guests.
    ($answer['state'] -cne 'failed') -or ($answer['detail'] -clike '*(0x800706d9)*') -or ($answer['detail'] -cmatch '\Athe firewall of guests')
}

function Test-Unchanged {
    param([hashtable] $Installation, [hashtable] $Request, [hashtable] $Actions, [hashtable] $Caller)
    $known = ($null -ne $Installation.Installed) -and ($null -ne $Installation.Policy)
    if ((-not $known) -or $Installation.HasDraft -or ($null -ne $Installation.Tasks.Try)) { return $false }
    foreach ($name in $InstalledFiles) {
        if ($Installation.Hashes[$name] -cne $Request.Hashes[$name]) { return $false }
    }
    $text = ConvertTo-AsciiJson -Answer $Request.Policy
    $installed = New-Installed -Package $Request.Policy['package'] -Hashes $Request.Hashes
    $same = ($Installation.Installed.Text -ceq (ConvertTo-AsciiJson -Answer $installed)) -and ((ConvertTo-AsciiJson -Answer $Installation.Policy) -ceq $text)
    if ((-not $same) -or ((Test-RelayForbidden -Installation $Installation -Caller $Caller) -ne $Installation.Forbidden)) { return $false }
    $policy = ConvertTo-Policy -Text $text
    $policy.Forbidden = $Installation.Forbidden
    $forward = ($null -eq $Installation.Tasks.Forward) -and (-not $Installation.HasSelection) -and (@($Installation.Ledger -clike '*tcp/*').Count -eq 0)
    if (Test-NeedsTask -Policy $policy) { $forward = $Installation.HasSelection -and (Test-SameTask -Task $Installation.Tasks.Forward -Action $Actions.Forward) }
    $logon = $null -eq $Installation.Tasks.Logon
    if ($Request.Policy['logon']) { $logon = Test-SameTask -Task $Installation.Tasks.Logon -Action $Actions.Logon }
    # A rule of ours that the policy has nothing serve is to go.
    $owned = (Read-Rules -Sid $Caller.Sid).Owned.Count
    $forward -and $logon -and (@(Get-OwnForwards -Sid $Caller.Sid -Policy $policy).Count -eq $owned) -and (Test-Firewall -Policy $policy -Sid $Caller.Sid)
}

# Whether there is nothing left that only an administrator could remove.
function Test-Clean {
    param([hashtable] $Installation)
    if ($Installation.HasKey -or $Installation.HasFolder -or ($null -ne $Installation.Tasks.Forward) -or ($null -ne $Installation.Tasks.Logon) -or ($null -ne $Installation.Tasks.Try)) {
        return $false
    }
    # What all users share goes with the last of them.
    $files = @($Installation.Hashes.Values | Where-Object { $null -ne $_ })
    ($Installation.Others.Count -gt 0) -or (($null -eq $Installation.Installed) -and ($files.Count -eq 0))
}

# What an uninstall took away: what was there before it.
function Format-Removed {
    param([hashtable] $Installation)
    $rules = @($Installation.Ledger | Where-Object { $_ -clike 'tcp/*' }).Count
    $firewall = @($Installation.Ledger | Where-Object { $_ -clike 'firewall/*' }).Count
    if ($rules -gt 0) { 'port forwards: {0}' -f $rules }
    if ($firewall -gt 0) { 'firewall rules: {0}' -f $firewall }
    if ($null -ne $Installation.Tasks.Forward) { 'the task that makes forwards' }
    if ($null -ne $Installation.Tasks.Logon) { 'the task that starts the distribution after a logon' }
    if ($Installation.HasPolicy) { 'the policy and the list of what is ours' }
    if ($Installation.Others.Count -gt 0) {
        'the program files stay: other users of this machine need them ({0})' -f $Installation.Others.Count
    } elseif ($null -ne $Installation.Installed) {
        'the program files'
    }
}

# The question for administrator rights waits 120 s at most; an answer in the elevated window counts until
# AnswerSeconds, and the mark of an agreement is seen at WaitSeconds. Then the work has WorkSeconds more. The
# program waits for all of it.
$AnswerSeconds = 125
$WaitSeconds = 140
$WorkSeconds = 90

function Clear-Staging {
    param([string] $Path)
    try {
        if (Test-WinFolder -Path $Path) { Remove-Tree -Path $Path -Tries 1 }
    } catch {
        # What is left is replaced by the next call, or keeps it from its start with words.
    }
}

# Puts what the elevated side will read on the Windows drive: an administrator's account, which may be
# another one, has no pipe to WSL. What was hashed is what is written.
function Publish-Files {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places)
    $names = @('setup.ps1')
    if ($Request.Action -ceq 'install') { $names += $InstalledFiles }
    Clear-Staging -Path $Places.Staging
    if ($Caller.Elevated) {
        # Below Program Files, and born with rights and an owner that leave out everyone but administrators and the system.
        Set-WinFolder -Path $Places.Staging -Security $OwnFolderSecurity
    } else {
        New-WinFolder -Path $Places.Staging
    }
    foreach ($name in $names) {
        $bytes = $Request.Files[$name]
        if ($Request.Hashes[$name] -cne (Get-Hash -Bytes $bytes)) {
            throw (New-Object System.Security.Cryptography.CryptographicException('{0} was changed on its way' -f $name))
        }
        Write-WinFile -Path ($Places.Staging + '\' + $name) -Bytes $bytes
    }
}

# A window of its own, in which the person is asked. Raise: Windows asks for
# administrator rights first. Hidden, for a caller that has them and agreed already: no
# window; the setup takes that agreement only where its standard input is no console.
function Start-Setup {
    param([string] $Loader, [bool] $Raise, [bool] $Hidden, [int] $Seconds)
    $clock = New-WinClock
    $verb = ''
    if ($Raise) { $verb = 'runas' }
    try {
        $arguments = '-NoProfile -ExecutionPolicy Bypass -EncodedCommand ' + $Loader
        $started = Start-WinProgram -Path ((Get-KnownFolder -Name 'System') + '\WindowsPowerShell\v1.0\powershell.exe') -Arguments $arguments -Verb $verb -Hidden $Hidden
    } catch {
        $code = Get-WinErrorCode -Exception $_.Exception
        if ($code -eq 0) { throw }
        return @{ Started = $false; Ended = $false; Code = $code }
    }
    $run = Wait-WinProgram -Started $started -Milliseconds ($Seconds * 1000 - $clock.ElapsedMilliseconds)
    @{ Started = $true; Ended = $run.Ended; Code = $run.Code; Program = $started }
}

# One call at a time puts files there and asks: a lock beside them, or $null while another call has it.
function Enter-HostLock {
    param([bool] $Elevated, [string] $Folder)
    try {
        if ($Elevated) {
            Set-WinFolder -Path $Folder -Security $ProgramSecurity
            return New-WinFile -Path ($Folder + '\host.lock') -Mode 'OpenOrCreate' -Security $OwnSecurity
        }
        New-WinFolder -Path $Folder
        Open-WinFile -Path ($Folder + '\host.lock') -Mode 'OpenOrCreate' -Access 'Write' -Share 'None'
    } catch {
        if (-not (Test-Shared -Failure $_)) { throw }
    }
}

# The folder goes with it where there is nothing else in it.
function Exit-HostLock {
    param($Lock, [bool] $Elevated, [string] $Folder)
    $Lock.Dispose()
    try {
        Remove-WinFile -Path ($Folder + '\host.lock') -Tries 1
        if ($Elevated) { Remove-ProgramFolder -Path $Folder } else { Remove-WinFolder -Path $Folder }
    } catch {
        # There is more in it, or another call has the lock.
    }
}

function Invoke-Setup {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places)
    $script:Step = 'see whether another call asks'
    $folder = $Places.User
    if ($Caller.Elevated) { $folder = $Places.Program }
    $lock = Enter-HostLock -Elevated $Caller.Elevated -Folder $folder
    if ($null -eq $lock) {
        return New-Outcome -State 'busy' -Detail 'another install or uninstall of this Windows user is asking; answer it at the Windows desktop, or close its window, and run this again'
    }
    $script:Step = 'put the files where the elevated setup reads them'
    $ticket = New-Ticket
    try {
        Publish-Files -Request $Request -Caller $Caller -Places $Places
        $text = ConvertTo-AsciiJson -Answer ([ordered] @{
            'version' = 1; 'action' = $Request.Action; 'ticket' = $ticket; 'user' = $Caller.Sid
            'answer-until' = (Get-WinTime) + $AnswerSeconds; 'agreed' = $Request.Agreed
            'policy' = $Request.Policy; 'files' = @(New-FileList -Hashes $Request.Hashes)
        })
        $order = [System.Text.Encoding]::UTF8.GetBytes($text)
        Write-WinFile -Path ($Places.Staging + '\order.json') -Bytes $order
        $staging = [System.Convert]::ToBase64String([System.Text.Encoding]::UTF8.GetBytes($Places.Staging))
        $loader = ConvertTo-LoaderText -SetupHash $Request.Hashes['setup.ps1'] -OrderHash (Get-Hash -Bytes $order) -Staging $staging
        $script:Step = 'start the elevated setup'
        # Two bytes a character, as PowerShell wants a command.
        $encoded = [System.Convert]::ToBase64String([System.Text.Encoding]::Unicode.GetBytes($loader))
        $run = Start-Setup -Loader $encoded -Raise (-not $Caller.Elevated) -Hidden $Request.Agreed -Seconds $WaitSeconds
        $script:Step = 'read the result of the elevated setup'
        $path = $Places.Program + '\' + $Caller.Sid + '\setup.json'
        $outcome = Get-ResultOutcome -Text (Read-WinText -Path $path) -Ticket $ticket
        if ($run.Started -and (-not $run.Ended) -and ($null -ne $outcome)) {
            # It had been agreed to, and still ran.
            $later = Wait-WinProgram -Started $run.Program -Milliseconds ($WorkSeconds * 1000)
            $run.Ended = $later.Ended
            $run.Code = $later.Code
            $outcome = Get-ResultOutcome -Text (Read-WinText -Path $path) -Ticket $ticket
        }
        Get-RunOutcome -Run $run -Outcome $outcome -Caller $Caller
    } finally {
        Clear-Staging -Path $Places.Staging
        Exit-HostLock -Lock $lock -Elevated $Caller.Elevated -Folder $folder
    }
}

# What keeps the elevated scripts from running at all, found before a prompt.
function Find-Refusal {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Installation)
    if ($Request.Agreed -and (-not $Caller.Elevated)) {
        return New-Outcome -State 'invalid-request' -Detail 'agreed: only a caller that has administrator rights already may agree without a question; leave out --yes'
    }
    if ($Request.Action -ceq 'install') {
        $words = Find-ContractConflict -Installed $Installation.Installed -Others $Installation.Others
        if ($null -ne $words) { return New-Outcome -State 'other-user-version' -Detail $words }
        if (@('AllSigned', 'Restricted') -contains $Caller.ScriptPolicy) {
            return New-Outcome -State 'constrained' -Detail ('a group policy of this machine allows PowerShell only {0} scripts, and the elevated script is not signed; an administrator has to allow it' -f $Caller.ScriptPolicy)
        }
    }
    if ((-not $Request.Agreed) -and ($Caller.Session -eq 0)) {
        return New-Outcome -State 'no-desktop' -Detail 'this runs in the session of services: there is no desktop for a question; start the distribution from a logged-on desktop'
    }
    $null
}

# What is there afterwards is asked for in any case: it decides, and not what the setup says of itself.
function Invoke-Install {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places, [hashtable] $Installation)
    $actions = Get-TaskActions -Sid $Caller.Sid -Places $Places -Policy $Request.Policy
    if (Test-Unchanged -Installation $Installation -Request $Request -Actions $actions -Caller $Caller) {
        return New-Outcome -State 'nothing-to-do' -Detail 'this version is installed with this policy'
    }
    $refusal = Find-Refusal -Request $Request -Caller $Caller -Installation $Installation
    if ($null -ne $refusal) { return $refusal }
    $outcome = Invoke-Setup -Request $Request -Caller $Caller -Places $Places
    $after = Get-Installation -Caller $Caller -Places $Places -Whole $true
    if (Test-Unchanged -Installation $after -Request $Request -Actions $actions -Caller $Caller) {
        $outcome.State = 'installed'
        $outcome.Detail = $null
    } elseif (@('installed', 'removed') -ccontains $outcome.State) {
        $outcome.State = 'failed'
        $outcome.Detail = 'another install or uninstall ran meanwhile, or something is missing; run it again'
    }
    $outcome
}

# With administrator rights nothing below the user's own folder is touched: any program
# of the user may have made it a link to another place. Where all programs of the user
# have these rights there is no call without them, and nothing to gain by a link.
function Remove-UserFolder {
    param([hashtable] $Caller, [string] $Path)
    if (-not (Test-WinFolder -Path $Path)) { return }
    if ($Caller.Elevated -and (-not $Caller.AlwaysElevated)) {
        return 'not removed: the folder {0}, which is left to a call without administrator rights; it holds no rights and no rules' -f $Path
    }
    try {
        Remove-Tree -Path $Path -Tries 1
        'the folder {0}' -f $Path
    } catch {
        'not removed: the folder {0} ({1}); it holds no rights and no rules' -f $Path, (Format-Failure -Step 'remove it' -Failure $_)
    }
}

function Invoke-Uninstall {
    param([hashtable] $Request, [hashtable] $Caller, [hashtable] $Places, [hashtable] $Installation)
    $outcome = New-Outcome -State 'nothing-to-do' -Detail 'nothing is installed for this user'
    if (-not (Test-Clean -Installation $Installation)) {
        $refusal = Find-Refusal -Request $Request -Caller $Caller -Installation $Installation
        if ($null -ne $refusal) { return $refusal }
        $outcome = Invoke-Setup -Request $Request -Caller $Caller -Places $Places
        if (-not (Test-Clean -Installation (Get-Installation -Caller $Caller -Places $Places -Whole $true))) {
            if ($outcome.State -ceq 'removed') {
                $outcome.State = 'failed'
                $outcome.Detail = 'the elevated setup ended, but something of wslmesh is left; run it again'
            }
            return $outcome
        }
        $outcome.State = 'removed'
        $outcome.Detail = $null
        $outcome.Done = @(Format-Removed -Installation $Installation)
    }
    $script:Step = 'remove the files of this user'
    $outcome.Done += @(Remove-UserFolder -Caller $Caller -Path $Places.User)
    $outcome
}

# Whether Windows starts every program of this account with administrator rights: without user account control, and
# for the administrator that every Windows has, as long as no policy (FilterAdministratorToken) includes that one.
function Test-AlwaysElevated {
    param([string] $Sid, [hashtable] $Policies)
    ($Policies['EnableLUA'] -ceq '0') -or (($Sid -clike 'S-1-5-21-*-500') -and ($Policies['FilterAdministratorToken'] -cne '1'))
}

# An administrator who is not elevated has the group for refusals only.
function Get-Account {
    $caller = Get-WinCaller
    $session = Get-WinSession
    $policies = Get-WinRegistryValues -Path 'SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System'
    $scripts = Get-WinRegistryValues -Path 'SOFTWARE\Policies\Microsoft\Windows\PowerShell'
    $policy = 'none'
    if ($scripts['EnableScripts'] -ceq '0') {
        $policy = 'Restricted'
    } elseif ($scripts.ContainsKey('ExecutionPolicy')) {
        $policy = $scripts['ExecutionPolicy']
    }
    @{
        Sid = $caller.Sid; Elevated = $caller.Elevated; Administrator = $caller.Elevated -or $session.Denied
        AlwaysElevated = $caller.Elevated -and (Test-AlwaysElevated -Sid $caller.Sid -Policies $policies)
        StandardDenied = $policies['ConsentPromptBehaviorUser'] -ceq '0'
        ScriptPolicy = $policy; Session = $session.Number
    }
}

function Get-HostAnswer {
    param([byte[]] $Bytes)
    $script:Step = 'check the request'
    # One without an end is all there is.
    $end = [Array]::IndexOf($Bytes, [byte] 10)
    if ($end -lt 0) { $end = $Bytes.Length - 1 }
    $request = ConvertTo-HostRequest -Text ([System.Text.Encoding]::UTF8.GetString($Bytes, 0, $end + 1))
    $names = @()
    if ($null -ne $request.Hashes) { $names = @($request.Hashes.Keys | Sort-Object) }
    $request['Files'] = Split-Files -Bytes $Bytes -First ($end + 1) -Names $names
    $script:Step = 'find out who runs this'
    $caller = Get-Account
    $places = Get-Places
    # With administrator rights nothing is written to the user's own folder.
    if ($caller.Elevated) { $places.Staging = $places.Program + '\staging' }
    $checks = @()
    $selection = $null
    if ($request.Action -ceq 'check') {
        $outcome = New-Outcome -State 'checked' -Detail $null
        $checks = @(Get-Checks -Caller $caller -Places $places -Probe $request.Probe)
        try {
            $selection = Read-Selection -Sid $caller.Sid
        } catch {
            # It is not there, or nothing that the task would take: no request is known.
        }
    } elseif ($request.Action -ceq 'look') {
        $outcome = New-Outcome -State 'looked' -Detail $null
    } else {
        $installation = Get-Installation -Caller $caller -Places $places -Whole $true
        if ($request.Action -ceq 'install') {
            $outcome = Invoke-Install -Request $request -Caller $caller -Places $places -Installation $installation
        } else {
            $outcome = Invoke-Uninstall -Request $request -Caller $caller -Places $places -Installation $installation
        }
    }
    $installation = Get-Installation -Caller $caller -Places $places -Whole $false
    $answer = New-HostAnswer -State $outcome.State -Detail $outcome.Detail
    $answer['user'] = $caller.Sid
    $answer['elevated'] = $caller.Elevated
    $answer['over-the-shoulder'] = ($null -ne $outcome.Administrator) -and ($outcome.Administrator -cne $caller.Sid)
    $answer['other-users'] = @($installation.Others)
    $answer['policy'] = $installation.Policy
    $answer['done'] = @($outcome.Done)
    $answer['checks'] = $checks
    $answer['selection'] = $selection
    $found = $installation.Installed
    if ($null -ne $found) {
        $relay = $null
        if ($null -ne $installation.Hashes['wslmesh-relay.exe']) { $relay = $places.Program + '\wslmesh-relay.exe' }
        $answer['installed'] = [ordered] @{ 'version' = $found.Version; 'contract' = $found.Contract; 'relay' = $relay }
    }
    $answer
}

function Get-HostAnswerText {
    try {
        $script:Step = 'read standard input'
        $answer = Get-HostAnswer -Bytes (Read-WinInput -Stream $Stream).Bytes
    } catch [System.IO.InvalidDataException] {
        $answer = New-HostAnswer -State 'invalid-request' -Detail (Format-Failure -Step $script:Step -Failure $_)
    } catch [System.Security.Cryptography.CryptographicException] {
        $answer = New-HostAnswer -State 'verification-failed' -Detail (Format-Failure -Step $script:Step -Failure $_)
    } catch {
        $answer = New-HostAnswer -State 'failed' -Detail (Format-Failure -Step $script:Step -Failure $_)
    }
    ConvertTo-AsciiJson -Answer $answer
}

function Invoke-Script {
    Assert-Language -Code 0
    Write-WinOutput -Text ((Get-HostAnswerText) + "`n")
    exit 0
}

# The session and its desktop, the age of this PowerShell in milliseconds, and whether the
# account is an administrator who is not elevated: the group is there for refusals only.
# It is asked for by its well-known number, so its localised name is no matter.
function Get-WinSession {
    $process = [System.Diagnostics.Process]::GetCurrentProcess()
    $denied = @([System.Security.Principal.WindowsIdentity]::GetCurrent().Claims | Where-Object {
        ($_.Type -ceq [System.Security.Claims.ClaimTypes]::DenyOnlySid) -and ($_.Value -ceq 'S-1-5-32-544')
    })
    @{
        Number = $process.SessionId; Interactive = [Environment]::UserInteractive
        Age = [int] [DateTime]::Now.Subtract($process.StartTime).TotalMilliseconds
        Denied = $denied.Count -gt 0
    }
}
