# The statements about Windows that wslmesh builds on and that could not be tried where it was written. Each
# is looked at on the machine it runs on; the numbers are those of docs/windows.md.

$CheckTitles = [ordered] @{
    'T1' = 'WSL records the guest''s address in this user''s registry, inside its network'
    'T2' = 'WSL records its network and gateway for the machine'
    'T3' = 'the port proxy''s rules are registry values named address/port'
    'T4' = 'netsh -f goes on after a line that fails'
    'T5' = 'the dynamic port ranges can be asked for'
    'T6' = 'WSL can be started without a console window'
    'T7' = 'the firewall answers through its COM interface'
    'T8' = 'the firewall of guests has its cmdlets and knows WSL'
    'T9' = 'this user may read and start the task'
    'T10' = 'the token tells an administrator from a standard account'
    'T11' = 'PowerShell starts, and a task starts, within seconds'
    'T12' = '.NET lists network interfaces with MTU, addresses and gateway'
    'T13' = 'no policy keeps the scripts from running'
    'T14' = 'wslrelay listens on loopback only'
    'T15' = 'a port that is taken gives error 10048'
    'T16' = 'the relay runs from where it is put'
    'T17' = 'this runs in the session of a desktop'
    'T18' = 'the task makes a rule on a scratch port, Windows opens the port, and both go again'
    'T19' = 'ordinary firewall rules hold for guests, too'
    'T20' = 'PowerShell looks for modules in Windows'' own folder alone'
    'T21' = 'the task does not run as the user who starts it'
    'T22' = 'no Block rule is left for the relay'
    'T23' = 'the task makes and removes many forwards in its minute'
}

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
        return New-Skipped -Reason 'WSL has no NAT network on record (another networking mode?)'
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
    if ($values.Count -eq 0) { return New-Skipped -Reason 'there is no rule to look at' }
    $strange = @($values.Keys | Where-Object { ($_ -cnotmatch $ListenerPattern) -or ($values[$_] -cnotmatch '\A[^/]+/[1-9][0-9]{0,4}\z') })
    New-Finding -Right ($strange.Count -eq 0) -Facts ([ordered] @{ 'rules' = $values.Count; 'of-another-form' = $strange.Count })
}

# The second line prints a script of netsh, whose words are not translated.
function Find-NetshErrors {
    param([bool] $Probe, [hashtable] $Places, [bool] $Elevated)
    if ($Elevated) {
        return New-Skipped -Reason 'netsh would read a file that programs without rights can change, and this call has administrator rights'
    }
    if (-not $Probe) { return New-Skipped -Reason 'writes a temporary file: run with a probe' }
    $text = Invoke-NetshTrial -Folder $Places.User -Lines @('interface portproxy nonsense', 'interface portproxy dump')
    New-Finding -Right ($text -clike '*pushd interface portproxy*') -Facts ([ordered] @{ 'characters' = $text.Length })
}

function Find-DynamicPorts {
    $facts = [ordered] @{}
    $known = $true
    foreach ($name in @('Get-NetTCPSetting', 'Get-NetUDPSetting')) {
        $found = Invoke-WinCommand -Name $name -Parameters @{} -Seconds 6
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
    if (-not (Test-WinGuestFirewall)) {
        return New-Skipped -Reason 'this Windows has no firewall for guests (Windows 11 22H2 and later)'
    }
    $found = Invoke-WinCommand -Name 'Get-NetFirewallHyperVVMCreator' -Parameters @{} -Seconds 6
    $known = @($found.Items | Where-Object { [string] $_.VMCreatorId -eq '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}' }).Count
    New-Finding -Right ($known -gt 0) -Facts ([ordered] @{ 'creators' = @($found.Items).Count; 'wsl' = $known; 'problem' = $found.Problem })
}

function Find-Task {
    param([hashtable] $Caller)
    $tasks = Get-TaskFacts -Sid $Caller.Sid
    if ($null -eq $tasks.Forward) { return New-Skipped -Reason 'not installed, or not readable by this user' }
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
    $owners = Invoke-WinCommand -Name 'Get-NetTCPConnection' -Parameters @{ State = 'Listen' } -Seconds 6
    $ids = @(Get-WinProcessIds -Name 'wslrelay')
    $theirs = @($owners.Items | Where-Object { $ids -contains [int] $_.OwningProcess })
    $wide = @($theirs | Where-Object { @('127.0.0.1', '::1') -cnotcontains [string] $_.LocalAddress }).Count
    if ($theirs.Count -eq 0) { return New-Skipped -Reason 'wslrelay listens nowhere now' }
    New-Finding -Right ($wide -eq 0) -Facts ([ordered] @{ 'processes' = $ids.Count; 'listeners' = $theirs.Count; 'beyond-loopback' = $wide })
}

function Find-BindErrors {
    param([bool] $Probe)
    if (-not $Probe) { return New-Skipped -Reason 'opens a port: run with a probe' }
    $code = Get-WinSecondBindError
    New-Finding -Right ($code -eq 10048) -Facts ([ordered] @{ 'error' = $code })
}

function Find-Relay {
    param([hashtable] $Places, [bool] $Elevated)
    if ($Elevated) { return New-Skipped -Reason 'the relay refuses administrator rights, and this call has them' }
    foreach ($path in @(($Places.Program + '\wslmesh-relay.exe')) + @(Find-UserRelays -Path $Places.User)) {
        if (Test-WinFile -Path $path) {
            # It ends when its standard input does.
            $run = Invoke-WinProgram -Path $path -Arguments '' -Seconds 5
            return New-Finding -Right ($run.Code -eq 0) -Facts ([ordered] @{ 'code' = $run.Code; 'error' = $run.Error; 'milliseconds' = $run.Milliseconds; 'below-program-files' = $path.StartsWith($Places.Program) })
        }
    }
    New-Skipped -Reason 'there is no relay on this machine yet'
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

function Get-Finding {
    param([string] $Id, [hashtable] $Caller, [hashtable] $Places, [bool] $Probe, [int] $Forwards)
    switch ($Id) {
        'T1' { return Find-GuestAddress -Sid $Caller.Sid }
        'T2' { return Find-GuestNetwork }
        'T3' { return Find-TableForm }
        'T4' { return Find-NetshErrors -Probe $Probe -Places $Places -Elevated $Caller.Elevated }
        'T5' { return Find-DynamicPorts }
        'T6' { return Find-Windowless -Places $Places }
        'T7' { return New-Finding -Right $true -Facts (Measure-WinFirewall) }
        'T8' { return Find-GuestFirewall }
        'T9' { return Find-Task -Caller $Caller }
        'T10' { return Find-Account -Caller $Caller }
        'T11' { return Find-StartTimes -Caller $Caller -Probe $Probe }
        'T12' { return Find-Interfaces }
        'T13' { return Find-Policies -Caller $Caller }
        'T14' { return Find-WslRelay }
        'T15' { return Find-BindErrors -Probe $Probe }
        'T16' { return Find-Relay -Places $Places -Elevated $Caller.Elevated }
        'T17' { return Find-Session -Caller $Caller }
        'T18' {
            if (-not $Probe) { return New-Skipped -Reason 'makes a rule and removes it: run with a probe' }
            return Find-ScratchRule -Caller $Caller -Most 1 -Seconds 10
        }
        'T19' { return Find-PolicyMerge }
        'T20' { return Find-ModulePath }
        'T21' { return Find-OtherUserRun -Caller $Caller -Probe $Probe }
        'T22' { return Find-LeftoverBlocks }
        default {
            if ($Forwards -eq 0) { return New-Skipped -Reason 'makes many forwards and removes them: run with a probe and --forwards NUMBER' }
            return Find-ScratchRule -Caller $Caller -Most $Forwards -Seconds 75
        }
    }
}

# One that throws is a finding like the others: the call behind it does not do here what it was taken for.
function Get-Checks {
    param([hashtable] $Caller, [hashtable] $Places, [bool] $Probe, [int] $Forwards)
    foreach ($id in $CheckTitles.Keys) {
        try {
            $finding = Get-Finding -Id $id -Caller $Caller -Places $Places -Probe $Probe -Forwards $Forwards
        } catch {
            $finding = New-Finding -Right $false -Facts ([ordered] @{ 'error' = Format-Failure -Step 'make this check' -Failure $_ })
        }
        # The facts come from Windows: nothing of the account may come with them.
        $detail = (ConvertTo-AsciiJson -Answer $finding.Facts).Replace($Caller.Sid, 'USER')
        [ordered] @{ 'id' = $id; 'title' = $CheckTitles[$id]; 'result' = $finding.Result; 'detail' = $detail }
    }
}

# The whole way through the task (T18): a scratch rule is asked for, looked for
# in the registry, and withdrawn again.
#
# What follows the ticket in a selection, with its mode and its listen ports; $null for
# a text that is not exactly what refresh.ps1 writes. Of no text at all: no forwards.
function Read-PresentSelection {
    param([string] $Text)
    if ($Text -ceq '') { return @{ Mode = 1; Rest = '"mode":1,"forwards":[]}'; Ports = @(); Size = 0 } }
    $entry = '\[(?:6|17),[1-9][0-9]{0,4},[1-9][0-9]{0,4},[123]\]'
    $form = '\A\{"version":1,"ticket":[1-9][0-9]{0,9},(?<rest>"mode":(?<mode>[12]),"forwards":\[(?<forwards>(?:' + $entry + '(?:,' + $entry + ')*)?)\]\})\z'
    $parts = [regex]::Match($Text, $form)
    if (-not $parts.Success) { return $null }
    $ports = @(foreach ($item in [regex]::Matches($parts.Groups['forwards'].Value, '\[[0-9]+,(?<port>[0-9]+),')) {
        $item.Groups['port'].Value
    })
    @{ Mode = [int] $parts.Groups['mode'].Value; Rest = $parts.Groups['rest'].Value; Ports = $ports; Size = $ports.Count }
}

# The same with more forwards, which the port proxy serves.
function Add-Entries {
    param([hashtable] $Selection, [object[]] $Spares)
    $all = @(foreach ($spare in $Spares) { '[6,{0},{1},1]' -f $spare.Listen, $spare.Connect })
    $start = $Selection.Rest.Substring(0, $Selection.Rest.Length - 2)
    if ($Selection.Size -gt 0) { $start += ',' }
    $start + ($all -join ',') + ']}'
}

# At most so many ports that the policy allows and nothing uses. Where there is a choice,
# those that the firewall stays shut for.
function Find-SparePorts {
    param([hashtable] $Policy, [hashtable] $Used, [int] $Most)
    $count = 0
    foreach ($firewall in @('none', 'local', 'full')) {
        foreach ($grant in @($Policy.Grants | Where-Object { ($_.Protocol -ceq 'tcp') -and ($_.Firewall -ceq $firewall) })) {
            for ($port = $grant.Listen.Last; ($port -ge $grant.Listen.First) -and ($count -lt $Most); $port -= 1) {
                if ($Used.ContainsKey([string] $port)) { continue }
                $Used[[string] $port] = $true
                $count += 1
                @{ Listen = $port; Connect = $grant.Connect.Last }
            }
        }
    }
}

# Ports with any rule, with a forward, or with a listener.
function Get-UsedPorts {
    param([hashtable] $Selection)
    $used = @{}
    foreach ($listener in (Get-WinRegistryValues -Path $ProxyPath).Keys) {
        if ($listener -cmatch $ListenerPattern) { $used[$listener.Split('/')[1]] = $true }
    }
    foreach ($port in @($Selection.Ports) + @((Get-WinListeners).Keys)) {
        $used[[string] $port] = $true
    }
    $used
}

# Where the rules on each port lead to, as the registry has it.
function Find-RuleTargets {
    $targets = @{}
    $values = Get-WinRegistryValues -Path $ProxyPath
    foreach ($listener in $values.Keys) {
        $targets[$listener.Split('/')[-1]] = $values[$listener]
    }
    $targets
}

# Whether all of these ports are open, or none is, within a second.
function Test-Ports {
    param([object[]] $Spares, [bool] $Open)
    $clock = New-WinClock
    do {
        $listeners = Get-WinListeners
        $wrong = @($Spares | Where-Object { $listeners.ContainsKey([string] $_.Listen) -ne $Open })
        if ($wrong.Count -eq 0) { return $true }
        Wait-Win -Milliseconds 100
    } while ($clock.ElapsedMilliseconds -lt 1000)
    $false
}

# The state that the task answers to a selection (the third field of an answer), and in how many milliseconds.
function Invoke-ScratchRun {
    param([string] $Sid, [string] $Rest, [int] $Seconds)
    $ticket = New-Ticket
    $clock = New-WinClock
    $run = Invoke-TaskRun -Sid $Sid -Ticket $ticket -Text ('{"version":1,"ticket":' + $ticket + ',' + $Rest) -Seconds $Seconds
    $state = 'no answer within {0} s' -f $Seconds
    if ($run.Superseded) { $state = 'superseded' }
    $found = [regex]::Match($run.Text, '\A\{"version":1,"ticket":[0-9]+,"[a-z]+":"(?<state>[a-z-]+)"')
    if ($found.Success) { $state = $found.Groups['state'].Value }
    @{ State = $state; Milliseconds = [int] $clock.ElapsedMilliseconds }
}

# Whatever happens, the selection that was there is put back, and the task runs once more;
# but not over a request that came meanwhile.
function Test-ScratchRules {
    param([string] $Sid, [hashtable] $Place, [int] $Seconds)
    $facts = [ordered] @{
        'port' = $Place.Spares[0].Listen; 'forwards' = $Place.Spares.Count; 'step' = $null
        'made' = $null; 'made-in' = $null; 'removed' = $null; 'removed-in' = $null
    }
    $problems = @()
    try {
        $run = Invoke-ScratchRun -Sid $Sid -Rest (Add-Entries -Selection $Place.Selection -Spares $Place.Spares) -Seconds $Seconds
        $facts['made'] = $run.State
        $facts['made-in'] = $run.Milliseconds
        $targets = Find-RuleTargets
        foreach ($spare in $Place.Spares) {
            $expected = '{0}/{1}' -f $Place.Guest, $spare.Connect
            $target = $targets[[string] $spare.Listen]
            if ($null -eq $target) {
                $problems += 'no rule was made'
            } elseif ($target -cne $expected) {
                $problems += 'the rule leads to {0} instead of {1}' -f $target, $expected
            }
        }
        if (($problems.Count -eq 0) -and (-not (Test-Ports -Spares $Place.Spares -Open $true))) { $problems += 'Windows did not open the port' }
    } catch {
        $facts['made'] = Format-Failure -Step 'have the rule made' -Failure $_
        $problems += 'no rule was made'
    } finally {
        if ($facts['made'] -cne 'superseded') {
            try {
                $run = Invoke-ScratchRun -Sid $Sid -Rest $Place.Selection.Rest -Seconds $Seconds
                $facts['removed'] = $run.State
                $facts['removed-in'] = $run.Milliseconds
            } catch {
                $facts['removed'] = Format-Failure -Step 'have the rule removed' -Failure $_
            }
            if ($Place.Text -ceq '') { Write-Selection -Sid $Sid -Text '' }
        }
    }
    if ($facts['made'] -ceq 'superseded') { return New-Skipped -Reason 'a sync came meanwhile: run the checks again' }
    $targets = Find-RuleTargets
    if (@($Place.Spares | Where-Object { $targets.ContainsKey([string] $_.Listen) }).Count -gt 0) {
        $problems = @('the rule was not removed') + $problems
    } elseif (-not (Test-Ports -Spares $Place.Spares -Open $false)) {
        $problems += 'Windows did not close the port'
    }
    if ($problems.Count -gt 0) { $facts['step'] = $problems[0] }
    New-Finding -Right ($problems.Count -eq 0) -Facts $facts
}

# Everything that can keep the trial from being made is found before anything is written.
function Find-ScratchPlace {
    param([string] $Sid, [hashtable] $Policy, [int] $Most)
    try {
        $text = Read-Selection -Sid $Sid
    } catch {
        return New-Skipped -Reason (Format-Failure -Step 'read the present selection' -Failure $_)
    }
    $selection = Read-PresentSelection -Text $text
    if ($null -eq $selection) {
        return New-Skipped -Reason 'the present request file is not of a form that this version writes, and stays untouched: restart the agent'
    }
    if ($selection.Mode -ne 1) { return New-Skipped -Reason 'mirrored networking: the port proxy is not used' }
    $ledger = Get-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid + '\ledger')
    if (($text -ceq '') -and ($ledger.Count -gt 0)) {
        return New-Skipped -Reason 'there are forwards, and no request file to put back: start the agent first'
    }
    # A selection may have 2,000 entries and 65,536 bytes, and an entry at most 18.
    $room = @(@((2000 - $selection.Size), [int] ((65500 - $text.Length) / 18), $Most) | Sort-Object)[0]
    if ($room -lt 1) { return New-Skipped -Reason 'the present request file has no room for one forward more' }
    $guest = Find-GuestAddress -Sid $Sid
    if ($guest.Result -cne 'ok') { return New-Skipped -Reason 'WSL has no address of the guest on record: wsl --shutdown, then start it again' }
    $spares = @(Find-SparePorts -Policy $Policy -Used (Get-UsedPorts -Selection $selection) -Most $room)
    if ($spares.Count -eq 0) { return New-Skipped -Reason 'no spare port in the policy: wslmesh host install --ports tcp:2299' }
    @{ Result = 'found'; Selection = $selection; Text = $text; Spares = $spares; Guest = $guest.Facts['address'] }
}

# The agent gives all checks but the many forwards 60 s: with less than half of it left, nothing is begun that
# might not be ended.
function Find-ScratchRule {
    param([hashtable] $Caller, [int] $Most, [int] $Seconds)
    $installed = Read-Installed -Values (Get-WinRegistryValues -Path 'SOFTWARE\wslmesh')
    $own = Get-WinRegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid)
    if (($null -eq $installed) -or (-not $own.ContainsKey('policy')) -or ($null -eq (Get-TaskFacts -Sid $Caller.Sid).Forward)) {
        return New-Skipped -Reason 'not installed'
    }
    if ($installed.Contract -ne $Contract) {
        return New-Skipped -Reason 'what is installed is of another version: run wslmesh host install'
    }
    try {
        $policy = ConvertTo-Policy -Text $own['policy']
    } catch [System.IO.InvalidDataException] {
        return New-Skipped -Reason 'the policy in the registry cannot be read: run wslmesh host install'
    }
    if (($Most -eq 1) -and ((Get-WinSession).Age -gt 25000)) {
        return New-Skipped -Reason 'the checks before took too long: no time is left to remove the rule again'
    }
    $place = Find-ScratchPlace -Sid $Caller.Sid -Policy $policy -Most $Most
    if ($place.Result -cne 'found') { return $place }
    Test-ScratchRules -Sid $Caller.Sid -Place $place -Seconds $Seconds
}

# What follows from it is said by the firewall's other rules: with the merge they hold for guests, too.
function Find-PolicyMerge {
    if (-not (Test-WinGuestFirewall)) {
        return New-Skipped -Reason 'this Windows has no firewall for guests (Windows 11 22H2 and later)'
    }
    $found = Invoke-WinCommand -Name 'Get-NetFirewallHyperVVMSetting' -Parameters @{ PolicyStore = 'ActiveStore'; Name = '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}' } -Seconds 6
    if (@($found.Items).Count -eq 0) { return New-Finding -Right $false -Facts ([ordered] @{ 'problem' = $found.Problem }) }
    $facts = [ordered] @{}
    foreach ($name in @('AllowHostPolicyMerge', 'DefaultInboundAction', 'LoopbackEnabled')) {
        $property = $found.Items[0].PSObject.Properties[$name]
        $facts[$name] = 'not known'
        if ($null -ne $property) { $facts[$name] = [string] $property.Value }
    }
    # Names, or the numbers of GpoBoolean: 0 is False, and 2 the default, which is to merge.
    New-Finding -Right (@('False', '0') -notcontains $facts['AllowHostPolicyMerge']) -Facts $facts
}

# After the commands above, each of which opened a runspace, and with it PowerShell's own search path.
function Find-ModulePath {
    $folders = @((Get-WinModulePath).Split(';'))
    New-Finding -Right ($folders.Count -eq 1) -Facts ([ordered] @{ 'folders' = $folders.Count })
}

# The task runs as SYSTEM whoever starts it: its user may start it, and choose nothing.
function Find-OtherUserRun {
    param([hashtable] $Caller, [bool] $Probe)
    if (-not $Probe) { return New-Skipped -Reason 'asks for a start of the task: run with a probe' }
    if ($null -eq (Get-TaskFacts -Sid $Caller.Sid).Forward) { return New-Skipped -Reason 'not installed, or not readable by this user' }
    $answer = Start-WinTaskAs -Name ('forward-' + $Caller.Sid) -Sid $Caller.Sid
    New-Finding -Right ($answer -cne '0x00000000') -Facts ([ordered] @{ 'answer' = $answer })
}

# One is left where a person answered No when Windows asked about the relay.
function Find-LeftoverBlocks {
    $count = Measure-WinRelayBlocks
    New-Finding -Right ($count -eq 0) -Facts ([ordered] @{ 'rules' = $count })
}

# Enabled Block rules for what comes in (direction 1, action 0) to a relay of ours.
function Measure-WinRelayBlocks {
    $count = 0
    foreach ($rule in (New-Object -ComObject 'HNetCfg.FwPolicy2').Rules) {
        if (([string] $rule.ApplicationName -like '*\wslmesh-relay*.exe') -and (([int] $rule.Direction) -eq 1) -and
            (([int] $rule.Action) -eq 0) -and [bool] $rule.Enabled) {
            $count += 1
        }
    }
    $count
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

function Measure-WinFirewall {
    $clock = New-WinClock
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    $rules = 0
    foreach ($rule in $policy.Rules) {
        # One may have no name: the COM object has nothing there.
        if ([string] $rule.Name -cne '') { $rules += 1 }
    }
    [ordered] @{
        'rules' = $rules; 'profiles' = [int] $policy.CurrentProfileTypes
        'policy-state' = [int] $policy.LocalPolicyModifyState; 'milliseconds' = $clock.ElapsedMilliseconds
    }
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
