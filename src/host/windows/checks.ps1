# The statements about Windows that wslmesh builds on and that could not be tried where
# it was written. Each is looked at on the machine it runs on; the numbers are those of
# docs/windows.md.

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
    'T18' = 'the task makes a rule on a scratch port and removes it again'
}

function New-Finding {
    param([string] $Result, [System.Collections.IDictionary] $Facts)
    @{ Result = $Result; Facts = $Facts }
}

function New-Skipped {
    param([string] $Reason)
    New-Finding -Result 'not-run' -Facts ([ordered] @{ 'reason' = $Reason })
}

function Test-That {
    param([bool] $Value)
    if ($Value) {
        return 'ok'
    }
    'differs'
}

function Find-GuestAddress {
    param([string] $Sid)
    $network = Get-GuestNetwork
    if ($network['NatNetwork'] -ceq '') {
        return New-Skipped -Reason 'WSL has no NAT network on record (another networking mode?)'
    }
    $guest = Select-Guest -Address (Get-UserGuestAddress -Sid $Sid) -Network $network['NatNetwork'] -Gateway $network['NatGatewayIpAddress']
    New-Finding -Result (Test-That -Value ($null -eq $guest.Problem)) -Facts ([ordered] @{ 'address' = $guest.Address; 'problem' = $guest.Problem })
}

function Find-GuestNetwork {
    $network = Get-GuestNetwork
    $whole = ($network['NatNetwork'] -cne '') -and ($network['NatGatewayIpAddress'] -cne '')
    New-Finding -Result (Test-That -Value $whole) -Facts ([ordered] @{ 'network' = $network['NatNetwork']; 'gateway' = $network['NatGatewayIpAddress'] })
}

function Find-TableForm {
    $values = Get-RegistryValues -Path 'SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp'
    if ($values.Count -eq 0) {
        return New-Skipped -Reason 'there is no rule to look at'
    }
    $strange = @($values.Keys | Where-Object { ($_ -cnotmatch $ListenerPattern) -or ($values[$_] -cnotmatch '\A[^/]+/[1-9][0-9]{0,4}\z') })
    New-Finding -Result (Test-That -Value ($strange.Count -eq 0)) -Facts ([ordered] @{ 'rules' = $values.Count; 'of-another-form' = $strange.Count })
}

# The second line prints a script of netsh, whose words are not translated.
function Find-NetshErrors {
    param([bool] $Probe, [hashtable] $Places, [bool] $Elevated)
    if ($Elevated) {
        return New-Skipped -Reason 'netsh would read a file that programs without rights can change, and this call has administrator rights'
    }
    if (-not $Probe) {
        return New-Skipped -Reason 'writes a temporary file: run with a probe'
    }
    $text = Invoke-NetshTrial -Folder $Places.User -Lines @('interface portproxy nonsense', 'interface portproxy dump')
    New-Finding -Result (Test-That -Value ($text -clike '*pushd interface portproxy*')) -Facts ([ordered] @{ 'characters' = $text.Length })
}

function Find-DynamicPorts {
    $facts = [ordered] @{}
    $known = $true
    foreach ($name in @('Get-NetTCPSetting', 'Get-NetUDPSetting')) {
        $found = Invoke-Limited -Name $name -Parameters @{} -Seconds 6
        $first = @($found.Items | Where-Object { $null -ne $_.DynamicPortRangeStartPort })
        if ($first.Count -gt 0) {
            $facts[$name] = '{0}+{1}' -f $first[0].DynamicPortRangeStartPort, $first[0].DynamicPortRangeNumberOfPorts
        } else {
            $known = $false
            $facts[$name] = $found.Problem
        }
    }
    New-Finding -Result (Test-That -Value $known) -Facts $facts
}

function Find-Windowless {
    param([hashtable] $Places)
    New-Finding -Result (Test-That -Value ($null -ne $Places.Windowless)) -Facts ([ordered] @{
        'wslg.exe' = $null -ne $Places.Windowless
        'wsl.exe' = Test-File -Path ($Places.System + '\wsl.exe')
        'conhost.exe' = Test-File -Path ($Places.System + '\conhost.exe')
    })
}

function Find-GuestFirewall {
    $command = Test-Command -Name 'New-NetFirewallHyperVRule'
    if (-not $command) {
        return New-Skipped -Reason 'this Windows has no firewall for guests (Windows 11 22H2 and later)'
    }
    $found = Invoke-Limited -Name 'Get-NetFirewallHyperVVMCreator' -Parameters @{} -Seconds 6
    $known = @($found.Items | Where-Object { [string] $_.VMCreatorId -eq '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}' }).Count
    New-Finding -Result (Test-That -Value ($known -gt 0)) -Facts ([ordered] @{ 'creators' = @($found.Items).Count; 'wsl' = $known; 'problem' = $found.Problem })
}

function Find-Task {
    param([hashtable] $Caller)
    $tasks = Get-TaskFacts -Sid $Caller.Sid
    if ($null -eq $tasks.Forward) {
        return New-Skipped -Reason 'not installed, or not readable by this user'
    }
    $last = Get-LastRun -Sid $Caller.Sid
    New-Finding -Result (Test-That -Value $tasks.Forward.Enabled) -Facts ([ordered] @{
        'enabled' = $tasks.Forward.Enabled
        'logon-task' = $null -ne $tasks.Logon
        'last-result' = $last.Result
        'rights' = $last.Rights.Replace($Caller.Sid, 'USER')
    })
}

function Find-Account {
    param([hashtable] $Caller)
    New-Finding -Result 'ok' -Facts ([ordered] @{
        'elevated' = $Caller.Elevated
        'administrator' = $Caller.Administrator
        'standard-accounts-denied' = $Caller.StandardDenied
        'user-account-control' = (Get-RegistryValues -Path 'SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System')['EnableLUA']
    })
}

function Find-Interfaces {
    $interfaces = @(Get-IPv4Interfaces)
    $whole = @($interfaces | Where-Object { ($_.Mtu -gt 0) -and ($_.Addresses.Count -gt 0) }).Count
    New-Finding -Result (Test-That -Value ($whole -gt 0)) -Facts ([ordered] @{
        'interfaces' = $interfaces.Count
        'with-mtu-and-address' = $whole
        'with-gateway' = @($interfaces | Where-Object { $_.Gateway }).Count
        'mtus' = (@($interfaces | Where-Object { $_.Up } | ForEach-Object { [string] $_.Mtu }) -join ',')
        'wsl-switch' = @($interfaces | Where-Object { $_.Name -like 'vEthernet (WSL*' }).Count
    })
}

function Find-Policies {
    param([hashtable] $Caller)
    $state = (Get-RegistryValues -Path 'SYSTEM\CurrentControlSet\Control\CI\Policy')['VerifiedAndReputablePolicyState']
    $free = (@('AllSigned', 'Restricted') -cnotcontains $Caller.ScriptPolicy) -and ($state -cne '1')
    New-Finding -Result (Test-That -Value $free) -Facts ([ordered] @{
        'language-mode' = [string] $ExecutionContext.SessionState.LanguageMode
        'script-policy' = $Caller.ScriptPolicy
        'smart-app-control' = $state
        'applocker-rules' = @(Get-RegistryKeys -Path 'SOFTWARE\Policies\Microsoft\Windows\SrpV2').Count
    })
}

function Find-WslRelay {
    $owners = Invoke-Limited -Name 'Get-NetTCPConnection' -Parameters @{ State = 'Listen' } -Seconds 6
    $ids = @(Get-ProcessNumbers -Name 'wslrelay')
    $theirs = @($owners.Items | Where-Object { $ids -contains [int] $_.OwningProcess })
    $wide = @($theirs | Where-Object { @('127.0.0.1', '::1') -cnotcontains [string] $_.LocalAddress }).Count
    if ($theirs.Count -eq 0) {
        return New-Skipped -Reason 'wslrelay listens nowhere now'
    }
    New-Finding -Result (Test-That -Value ($wide -eq 0)) -Facts ([ordered] @{ 'processes' = $ids.Count; 'listeners' = $theirs.Count; 'beyond-loopback' = $wide })
}

function Find-BindErrors {
    param([bool] $Probe)
    if (-not $Probe) {
        return New-Skipped -Reason 'opens a port: run with a probe'
    }
    $code = Get-SecondBindError
    New-Finding -Result (Test-That -Value ($code -eq 10048)) -Facts ([ordered] @{ 'error' = $code })
}

function Find-Relay {
    param([hashtable] $Places, [bool] $Elevated)
    if ($Elevated) {
        return New-Skipped -Reason 'the relay refuses administrator rights, and this call has them'
    }
    foreach ($path in @(($Places.Program + '\wslmesh-relay.exe')) + @(Find-UserRelays -Path $Places.User)) {
        if (Test-File -Path $path) {
            $run = Invoke-Relay -Path $path
            return New-Finding -Result (Test-That -Value ($run.Code -eq 0)) -Facts ([ordered] @{ 'code' = $run.Code; 'error' = $run.Error; 'milliseconds' = $run.Milliseconds; 'below-program-files' = $path.StartsWith($Places.Program) })
        }
    }
    New-Skipped -Reason 'there is no relay on this machine yet'
}
