# The statements about Windows that wslmesh builds on and that could not be tried where it was written. Each
# is looked at on the machine it runs on; the numbers are those of docs/windows.md. The agent has their titles,
# and makes T18 and T23 itself.

function New-Finding {
    param([bool] $Right, [System.Collections.IDictionary] $Facts)
    $result = 'differs'
    if ($Right) { $result = 'ok' }
    @{ Result = $result; Facts = $Facts }
}

function New-Skipped {
    param([string] $Reason)
    @{ Result = 'not-run'; Facts = [ordered] @{ 'reason' = $Reason } }
}

function Find-GuestAddress {
    param([string] $Sid)
    if ((Get-GuestNetwork)['NatNetwork'] -ceq '') {
        return New-Skipped -Reason 'WSL has no NAT network on record: with another networking mode there is nothing to do; else run "wsl --shutdown", then start WSL again'
    }
    $guest = Find-Guest -Sid $Sid
    New-Finding -Right ($null -eq $guest.Problem) -Facts ([ordered] @{ 'address' = $guest.Address; 'problem' = $guest.Problem })
}

function Find-GuestNetwork {
    $network = Get-GuestNetwork
    $whole = ($network['NatNetwork'] -cne '') -and ($network['NatGatewayIpAddress'] -cne '')
    New-Finding -Right $whole -Facts ([ordered] @{ 'network' = $network['NatNetwork']; 'gateway' = $network['NatGatewayIpAddress'] })
}

function Find-TableForm {
    $values = Get-WinRegistryValues -Path $ProxyPath
    if ($values.Count -eq 0) { return New-Skipped -Reason 'no program has made a port proxy rule: run "wslmesh host check" again when there is one' }
    $strange = @($values.Keys | Where-Object { ($_ -cnotmatch $ListenerPattern) -or ($values[$_] -cnotmatch '\A[^/]+/[1-9][0-9]{0,4}\z') })
    New-Finding -Right ($strange.Count -eq 0) -Facts ([ordered] @{ 'rules' = $values.Count; 'of-another-form' = $strange.Count })
}

# The second line prints a script of netsh, whose words are not translated.
function Find-NetshErrors {
    param([hashtable] $Places)
    $text = Invoke-NetshTrial -Folder $Places.User -Lines @('interface portproxy nonsense', 'interface portproxy dump')
    New-Finding -Right ($text -clike '*pushd interface portproxy*') -Facts ([ordered] @{ 'characters' = $text.Length })
}

function Find-DynamicPorts {
    $facts = [ordered] @{}
    $known = $true
    foreach ($name in @('Get-NetTCPSetting', 'Get-NetUDPSetting')) {
        $found = Invoke-WinCommand -Name $name -Parameters @{} -Seconds 6 -Module ''
        $first = @($found.Items | Where-Object { $null -ne $_.DynamicPortRangeStartPort })
        if ($first.Count -gt 0) {
            $facts[$name] = '{0}+{1}' -f $first[0].DynamicPortRangeStartPort, $first[0].DynamicPortRangeNumberOfPorts
        } else {
            $known = $false
            $facts[$name] = $found.Problem
        }
    }
    New-Finding -Right $known -Facts $facts
}

function Find-Windowless {
    param([hashtable] $Places)
    New-Finding -Right ($null -ne $Places.Windowless) -Facts ([ordered] @{
        'wslg.exe' = $null -ne $Places.Windowless
        'wsl.exe' = Test-WinFile -Path ($Places.System + '\wsl.exe')
        'conhost.exe' = Test-WinFile -Path ($Places.System + '\conhost.exe')
    })
}

function Find-GuestFirewall {
    $found = Invoke-WinCommand -Name 'Get-NetFirewallHyperVVMCreator' -Parameters @{} -Seconds 6 -Module 'NetSecurity'
    $known = @($found.Items | Where-Object { [string] $_.VMCreatorId -eq $GuestCreator }).Count
    $settings = @((Get-WinGuestSetting -Seconds 6).Items)
    $holds = 'not known'
    if ($settings.Count -gt 0) { $holds = @{ $true = 'those of Windows'; $false = 'those of the Hyper-V firewall' }[(Test-Merge -Settings $settings)] }
    New-Finding -Right ($known -gt 0) -Facts ([ordered] @{ 'creators' = @($found.Items).Count; 'wsl' = $known; 'problem' = $found.Problem; 'rules-that-hold-for-guests' = $holds })
}

function Find-Task {
    param([hashtable] $Caller)
    $tasks = Get-TaskFacts -Sid $Caller.Sid
    $name = 'forward-' + $Caller.Sid
    New-Finding -Right $tasks.Forward.Enabled -Facts ([ordered] @{
        'enabled' = $tasks.Forward.Enabled; 'logon-task' = $null -ne $tasks.Logon
        'last-result' = (Get-WinTaskRun -Name $name).Result; 'rights' = Get-WinTaskRights -Name $name
    })
}

function Find-Account {
    param([hashtable] $Caller)
    New-Finding -Right $true -Facts ([ordered] @{
        'elevated' = $Caller.Elevated; 'administrator' = $Caller.Administrator
        'standard-accounts-denied' = $Caller.StandardDenied
        'user-account-control' = (Get-WinRegistryValues -Path 'SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System')['EnableLUA']
    })
}

function Find-Interfaces {
    $interfaces = @(Get-WinInterfaces)
    $whole = @($interfaces | Where-Object { ($_.Mtu -gt 0) -and ($_.Addresses.Count -gt 0) }).Count
    New-Finding -Right ($whole -gt 0) -Facts ([ordered] @{
        'interfaces' = $interfaces.Count; 'with-mtu-and-address' = $whole
        'with-gateway' = @($interfaces | Where-Object { $_.Gateway }).Count
        'mtus' = (@($interfaces | Where-Object { $_.Up } | ForEach-Object { [string] $_.Mtu }) -join ',')
        'wsl-switch' = @($interfaces | Where-Object { $_.Name -like 'vEthernet (WSL*' }).Count
    })
}

function Find-Policies {
    param([hashtable] $Caller)
    $state = (Get-WinRegistryValues -Path 'SYSTEM\CurrentControlSet\Control\CI\Policy')['VerifiedAndReputablePolicyState']
    $free = (@('AllSigned', 'Restricted') -cnotcontains $Caller.ScriptPolicy) -and ($state -cne '1')
    New-Finding -Right $free -Facts ([ordered] @{
        'language-mode' = [string] $ExecutionContext.SessionState.LanguageMode
        'script-policy' = $Caller.ScriptPolicy; 'smart-app-control' = $state
        'applocker-rules' = @(Get-WinRegistryKeys -Path 'SOFTWARE\Policies\Microsoft\Windows\SrpV2').Count
    })
}

function Find-WslRelay {
    $owners = Invoke-WinCommand -Name 'Get-NetTCPConnection' -Parameters @{ State = 'Listen' } -Seconds 6 -Module ''
    $ids = @(Get-WinProcessIds -Name 'wslrelay')
    $theirs = @($owners.Items | Where-Object { $ids -contains [int] $_.OwningProcess })
    $wide = @($theirs | Where-Object { @('127.0.0.1', '::1') -cnotcontains [string] $_.LocalAddress }).Count
    if ($theirs.Count -eq 0) { return New-Skipped -Reason 'wslrelay listens nowhere now: run "wslmesh host check" again while a program in WSL listens on localhost' }
    New-Finding -Right ($wide -eq 0) -Facts ([ordered] @{ 'processes' = $ids.Count; 'listeners' = $theirs.Count; 'beyond-loopback' = $wide })
}

function Find-BindErrors {
    $code = Get-WinSecondBindError
    New-Finding -Right ($code -eq 10048) -Facts ([ordered] @{ 'error' = $code })
}

function Find-Relay {
    param([hashtable] $Places)
    foreach ($path in @(($Places.Program + '\wslmesh-relay.exe')) + @(Find-UserRelays -Path $Places.User)) {
        if (Test-WinFile -Path $path) {
            # It ends when its standard input does.
            $run = Invoke-WinProgram -Path $path -Arguments '' -Seconds 5
            return New-Finding -Right ($run.Code -eq 0) -Facts ([ordered] @{ 'code' = $run.Code; 'error' = $run.Error; 'milliseconds' = $run.Milliseconds; 'below-program-files' = $path.StartsWith($Places.Program) })
        }
    }
    New-Skipped -Reason 'there is no relay on this machine yet: run "wslmesh host install"'
}

function Find-UserRelays {
    param([string] $Path)
    if (Test-WinFolder -Path $Path) { @(Get-WinEntries -Path $Path -Folders $false) -like '*\wslmesh-relay-*.exe' }
}

function Find-StartTimes {
    param([hashtable] $Caller, [bool] $Probe)
    $facts = [ordered] @{ 'windows-version' = Get-WinVersion; 'powershell' = [string] $PSVersionTable.PSVersion; 'powershell-until-now' = (Get-WinSession).Age }
    $quick = $facts['powershell-until-now'] -lt 15000
    $tasks = Get-TaskFacts -Sid $Caller.Sid
    if ($Probe -and ($null -ne $tasks.Forward)) {
        $facts['task'] = Measure-WinTask -Name ('forward-' + $Caller.Sid)
        $quick = $quick -and ($facts['task'] -lt 10000)
    }
    New-Finding -Right $quick -Facts $facts
}

function Find-Session {
    param([hashtable] $Caller)
    New-Finding -Right ($Caller.Session -ne 0) -Facts ([ordered] @{ 'session' = $Caller.Session; 'interactive' = (Get-WinSession).Interactive })
}

# What netsh prints for lines in a file, which lies in the user's own folder: this runs without rights.
function Invoke-NetshTrial {
    param([string] $Folder, [string[]] $Lines)
    New-WinFolder -Path $Folder
    $path = $Folder + '\check-' + (Get-WinRandomName)
    Write-WinFile -Path $path -Bytes ([System.Text.Encoding]::ASCII.GetBytes(($Lines -join "`r`n") + "`r`n"))
    try {
        Invoke-Netsh -Path $path
    } finally {
        Remove-WinFile -Path $path -Tries 1
    }
}

# With the merge Windows' own rules hold for guests, too; without it an install makes Hyper-V rules.
function Find-PolicyMerge {
    $found = Get-WinGuestSetting -Seconds 6
    if (@($found.Items).Count -eq 0) { return New-Finding -Right $false -Facts ([ordered] @{ 'problem' = $found.Problem }) }
    $facts = [ordered] @{}
    foreach ($name in @('AllowHostPolicyMerge', 'DefaultInboundAction', 'LoopbackEnabled')) {
        $property = $found.Items[0].PSObject.Properties[$name]
        $facts[$name] = 'not known'
        if ($null -ne $property) { $facts[$name] = [string] $property.Value }
    }
    New-Finding -Right (Test-Merge -Settings @($found.Items)) -Facts $facts
}

# After the commands above, each of which opened a runspace, and with it PowerShell's own search path.
function Find-ModulePath {
    $folders = @((Get-WinModulePath).Split(';'))
    New-Finding -Right ($folders.Count -eq 1) -Facts ([ordered] @{ 'folders' = $folders.Count })
}

# The task runs as SYSTEM whoever starts it: its user may start it, and choose nothing.
function Find-OtherUserRun {
    param([hashtable] $Caller)
    $answer = Start-WinTaskAs -Name ('forward-' + $Caller.Sid) -Sid $Caller.Sid
    New-Finding -Right ($answer -cne '0x00000000') -Facts ([ordered] @{ 'answer' = $answer })
}

# A task is stopped after its limit, PT72H unless its maker chose another ([MS-TSCH], ExecutionTimeLimit), and with its
# wsl.exe what held the distribution ends. PT0S is no limit.
function Find-StartTasks {
    $starts = @(Get-WinStartTasks)
    $limited = @(foreach ($task in $starts) {
        $limit = $task.Limit
        if ($limit -ceq '') { $limit = 'PT72H' }
        if ($limit -cne 'PT0S') { '{0} after {1}' -f $task.Path, $limit }
    })
    $facts = [ordered] @{ 'tasks' = $starts.Count; 'stopped' = $limited -join ', ' }
    if ($limited.Count -gt 0) {
        $facts['fix'] = 'in its Settings clear "Stop the task if it runs longer than" (ExecutionTimeLimit PT0S)'
    }
    New-Finding -Right ($limited.Count -eq 0) -Facts $facts
}

# Where the virtual disks of this user's distributions are: the key of each names the folder, and since a while the
# file (microsoft/WSL: DistributionRegistration.h). A distribution of WSL 1 has none.
function Find-DiskFiles {
    param([string] $Sid)
    $key = 'Software\Microsoft\Windows\CurrentVersion\Lxss'
    foreach ($id in @(Get-WinUserKeys -Sid $Sid -Path $key)) {
        $own = $key + '\' + $id
        $name = Get-WinUserValue -Sid $Sid -Path $own -Name 'VhdFileName'
        if ($name -ceq '') { $name = 'ext4.vhdx' }
        $folder = (Get-WinUserValue -Sid $Sid -Path $own -Name 'BasePath') -creplace '\A\\\\\?\\', ''
        if (($folder -cmatch '\A[A-Za-z]:\\') -and (Test-WinFile -Path ($folder + '\' + $name))) {
            @{ Folder = $folder; Path = $folder + '\' + $name; Drive = $folder.Substring(0, 2).ToUpperInvariant() }
        }
    }
}

# Of drives and files Windows tells every user.
function Find-VirtualDisks {
    param([hashtable] $Caller)
    $files = @(Find-DiskFiles -Sid $Caller.Sid)
    if ($files.Count -eq 0) { return New-Skipped -Reason 'no distribution of this user has a virtual disk: there is nothing to do' }
    $problems = @(foreach ($file in $files) {
        $disk = Get-WinDisk -Path $file.Path
        # DRIVE_FIXED.
        if ($disk.Kind -ne 3) { '{0} is no drive of this machine alone (kind {1})' -f $file.Drive, $disk.Kind }
        if ($disk.Free -lt 2048) { '{0} has {1} MiB free' -f $file.Drive, $disk.Free }
        if ($disk.Packed) { 'a virtual disk on {0} is compressed or encrypted' -f $file.Drive }
    })
    $facts = [ordered] @{
        'disks' = $files.Count; 'drives' = @($files | ForEach-Object { $_.Drive } | Sort-Object -Unique) -join ', '
        'problems' = @($problems | Sort-Object -Unique) -join ', '
    }
    if ($problems.Count -gt 0) {
        $facts['fix'] = 'free space there, or move the distribution (wsl.exe --manage NAME --move FOLDER); clear "Compress contents" and "Encrypt contents" in the attributes of the file'
    }
    New-Finding -Right ($problems.Count -eq 0) -Facts $facts
}

# Nothing is claimed of the exclusions, which administrators alone can read. What a person is to paste into an elevated
# PowerShell has no sign in it that means something there.
function Get-DefenderAdvice {
    param([hashtable] $Caller)
    $folders = @(foreach ($file in @(Find-DiskFiles -Sid $Caller.Sid)) {
        $plain = $file.Folder -cmatch '\A[A-Za-z]:\\[\p{L}\p{Nd} ._{}()\\-]+\z'
        @{ $true = '"' + $file.Folder + '"'; $false = 'FOLDER' }[$plain]
    })
    @{ Result = 'not-run'; Facts = [ordered] @{
        'reason' = 'administrators alone can read the exclusions of Microsoft Defender: there is nothing to do, unless the disk is slow'
        'look' = '(Get-MpPreference).ExclusionPath in an elevated PowerShell'
        'exclude' = 'Add-MpPreference -ExclusionPath ' + (@($folders | Sort-Object -Unique) -join ', ')
        'cost' = 'what is in an excluded folder is not scanned, so malware can hide there'
    } }
}

# Why a check is not made, and what to do; '' where nothing keeps it from being made.
function Find-Obstacle {
    param([string] $Id, [hashtable] $Caller, [bool] $Probe)
    # netsh would read a file that programs without rights can change, and the relay refuses such rights.
    if ((@('T4', 'T16') -ccontains $Id) -and $Caller.Elevated) {
        return 'it is not for a call with administrator rights: start WSL from a program without them, then run "wslmesh host check" again'
    }
    if ((@('T4', 'T15', 'T21') -ccontains $Id) -and (-not $Probe)) {
        return 'it writes a temporary file, opens a port or starts the task: run "wslmesh host check --probe"'
    }
    if ((@('T8', 'T19') -ccontains $Id) -and (-not (Test-WinGuestFirewall))) {
        return 'only Windows 11 22H2 and later has a firewall for guests: there is nothing to do'
    }
    if ((@('T9', 'T21') -ccontains $Id) -and ($null -eq (Get-TaskFacts -Sid $Caller.Sid).Forward)) {
        if ((Get-OwnValue -Sid $Caller.Sid -Name 'policy') -cne '') {
            $needed = Test-NeedsTask -Policy (Get-InstalledPolicy -Sid $Caller.Sid)
            if (-not $needed) { return 'no forward goes by the port proxy: there is nothing to do' }
        }
        return 'the task is not installed, or not for this user: run "wslmesh host install"'
    }
    ''
}

function Get-Finding {
    param([string] $Id, [hashtable] $Caller, [hashtable] $Places, [bool] $Probe, $Firewall)
    $obstacle = Find-Obstacle -Id $Id -Caller $Caller -Probe $Probe
    if ($obstacle -cne '') { return New-Skipped -Reason $obstacle }
    switch ($Id) {
        'T1' { return Find-GuestAddress -Sid $Caller.Sid }
        'T2' { return Find-GuestNetwork }
        'T3' { return Find-TableForm }
        'T4' { return Find-NetshErrors -Places $Places }
        'T5' { return Find-DynamicPorts }
        'T6' { return Find-Windowless -Places $Places }
        'T7' { return New-Finding -Right $true -Facts $Firewall }
        'T8' { return Find-GuestFirewall }
        'T9' { return Find-Task -Caller $Caller }
        'T10' { return Find-Account -Caller $Caller }
        'T11' { return Find-StartTimes -Caller $Caller -Probe $Probe }
        'T12' { return Find-Interfaces }
        'T13' { return Find-Policies -Caller $Caller }
        'T14' { return Find-WslRelay }
        'T15' { return Find-BindErrors }
        'T16' { return Find-Relay -Places $Places }
        'T17' { return Find-Session -Caller $Caller }
        'T19' { return Find-PolicyMerge }
        'T20' { return Find-ModulePath }
        'T21' { return Find-OtherUserRun -Caller $Caller }
        # One is left where a person answered No when Windows asked about the relay.
        'T22' { return New-Finding -Right ($Firewall['relay-blocks'] -eq 0) -Facts ([ordered] @{ 'rules' = $Firewall['relay-blocks'] }) }
        'T24' { return Find-StartTasks }
        'T25' { return Find-VirtualDisks -Caller $Caller }
        'T26' { return Get-DefenderAdvice -Caller $Caller }
    }
}

# One that throws is a finding like the others: the call behind it does not do here what it was taken for.
function Get-Checks {
    param([hashtable] $Caller, [hashtable] $Places, [bool] $Probe)
    $firewall = $null
    for ($number = 1; $number -le 26; $number += 1) {
        if (@(18, 23) -contains $number) { continue }
        $id = 'T{0}' -f $number
        try {
            # Its list may be long: it is read once.
            if ((@('T7', 'T22') -ccontains $id) -and ($null -eq $firewall)) { $firewall = Measure-WinFirewall }
            $finding = Get-Finding -Id $id -Caller $Caller -Places $Places -Probe $Probe -Firewall $firewall
        } catch {
            $finding = New-Finding -Right $false -Facts ([ordered] @{ 'error' = Format-Failure -Step 'make this check' -Failure $_ })
        }
        # The facts come from Windows: nothing of the account may come with them.
        $detail = (ConvertTo-AsciiJson -Answer $finding.Facts).Replace($Caller.Sid, 'USER')
        [ordered] @{ 'id' = $id; 'result' = $finding.Result; 'detail' = $detail }
    }
}

# The enabled tasks of this user, in all folders, that start wsl.exe or wslg.exe, be it by another program, with their
# limits. A kind of action that starts no program has neither a path nor arguments.
function Get-WinStartTasks {
    $folders = New-Object System.Collections.ArrayList
    [void] $folders.Add((Open-WinScheduler).GetFolder('\'))
    for ($place = 0; $place -lt $folders.Count; $place += 1) {
        foreach ($folder in @($folders[$place].GetFolders(0))) { [void] $folders.Add($folder) }
        foreach ($task in @($folders[$place].GetTasks(1))) {
            if (-not $task.Enabled) { continue }
            $definition = $task.Definition
            $lines = @(foreach ($action in @($definition.Actions)) {
                # 0: it starts a program.
                if ([int] $action.Type -eq 0) { '{0} {1}' -f $action.Path, $action.Arguments }
            })
            if (($lines -join ' ') -match '(\A|[\s"\\/])wslg?(\.exe)?(["\s]|\z)') {
                @{ Path = [string] $task.Path; Limit = [string] $definition.Settings.ExecutionTimeLimit }
            }
        }
    }
}

# The names of the keys below one of a user's hive.
function Get-WinUserKeys {
    param([string] $Sid, [string] $Path)
    Read-WinKey -Hive 'Users' -Path ($Sid + '\' + $Path) -Body { param($Key) $Key.GetSubKeyNames() }
}

# What Windows says of a file's drive (System.IO.DriveType, MiB) and of the file: NTFS compresses and encrypts single
# files, and Hyper-V opens no virtual disk of which it does.
function Get-WinDisk {
    param([string] $Path)
    $drive = New-Object System.IO.DriveInfo($Path.Substring(0, 1))
    $packed = [int] [System.IO.FileAttributes]::Compressed -bor [int] [System.IO.FileAttributes]::Encrypted
    @{
        Kind = [int] $drive.DriveType; Free = [long] ($drive.AvailableFreeSpace / 1048576)
        Packed = ([int] [System.IO.File]::GetAttributes($Path) -band $packed) -ne 0
    }
}

function Get-WinVersion {
    [string] [Environment]::OSVersion.Version
}

function Get-WinModulePath {
    [string] $env:PSModulePath
}

function Get-WinProcessIds {
    param([string] $Name)
    foreach ($process in [System.Diagnostics.Process]::GetProcessesByName($Name)) {
        [int] $process.Id
    }
}

# How the firewall answers, and how many enabled Block rules there are for what comes in (direction 1, action 0)
# to a relay of ours, but for the one that an install makes.
function Measure-WinFirewall {
    $clock = New-WinClock
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    $found = [ordered] @{
        'rules' = 0; 'relay-blocks' = 0; 'profiles' = [int] $policy.CurrentProfileTypes
        'policy-state' = [int] $policy.LocalPolicyModifyState; 'milliseconds' = 0
    }
    foreach ($rule in $policy.Rules) {
        # One may have no name: the COM object has nothing there.
        if ([string] $rule.Name -cne '') { $found['rules'] += 1 }
        if (([string] $rule.ApplicationName -like '*\wslmesh-relay*.exe') -and ([int] $rule.Direction -eq 1) -and
            (([string] $rule.Grouping) -cne 'wslmesh') -and ([int] $rule.Action -eq 0) -and [bool] $rule.Enabled) {
            $found['relay-blocks'] += 1
        }
    }
    $found['milliseconds'] = $clock.ElapsedMilliseconds
    $found
}

# A second listener on a port of loopback that a first one has.
function Get-WinSecondBindError {
    $first = New-Object System.Net.Sockets.TcpListener([System.Net.IPAddress]::Loopback, 0)
    $first.Start()
    try {
        $second = New-Object System.Net.Sockets.TcpListener([System.Net.IPAddress]::Loopback, $first.LocalEndpoint.Port)
        try {
            $second.Start()
            $second.Stop()
            0
        } catch {
            Get-WinSocketError -Failure $_
        }
    } finally {
        $first.Stop()
    }
}
