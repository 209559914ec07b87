# ---- Order of events -------------------------------------------------------

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
