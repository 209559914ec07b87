# setup.ps1, with a Windows of tables that writes down what is done to it.

$more = [System.IO.Path]::Combine($PSScriptRoot, 'world-host.ps1')
. $more

function Get-WinCaller {
    @{ Sid = 'S-1-5-21-9-9-9-500'; Elevated = $script:World.Account.Elevated }
}

function Write-Line {
    param([string] $Text)
    [void] $script:World.Lines.Add($Text)
}

function Read-WinAnswer {
    Add-Call -Text 'question'
    $script:World.Said
}

function Test-WinConsole {
    -not $script:World.NoConsole
}

function Get-WinUserName {
    param([string] $Sid)
    'PC\me'
}

function Test-OwnFolder {
    param([string] $Path)
    -not $script:World.Folders.ContainsKey('foreign')
}

function Set-WinFolder {
    param([string] $Path, [string] $Security)
    Add-Call -Text ('folder ' + $Path)
}

function Assert-WinFolder {
    param([string] $Path)
}

function Set-WinProgram {
    param([string] $Path, [byte[]] $Bytes)
    Add-Call -Text ('file ' + $Path)
}

function Set-WinText {
    param([string] $Path, [string] $Text)
    $script:World.Written = $Text
}

function Clear-Leftovers {
    param([string] $Path)
}

function Set-WinRegistryValues {
    param([string] $Path, [System.Collections.IDictionary] $Values, [string[]] $Removed)
    if ($Path -clike '*\ledger') {
        foreach ($name in @($Values.Keys)) { $script:World.Ledger[$name] = $Values[$name] }
        foreach ($name in $Removed) { $script:World.Ledger.Remove($name) }
        return
    }
    foreach ($name in @($Values.Keys)) {
        Add-Call -Text ('value ' + $Path + ' ' + $name)
    }
    if ($Path -ceq $ProxyPath) {
        Add-Call -Text 'values of the port proxy'
        foreach ($name in $Removed) {
            $script:World.Table.Remove($name)
        }
        return
    }
    foreach ($name in $Removed) {
        Add-Call -Text ('no value ' + $name)
    }
}

function Remove-WinRegistryKey {
    param([string] $Path, [bool] $Whole)
    Assert-True -Found $Whole -What 'with all that it holds'
    Add-Call -Text ('no key ' + $Path)
}

function Set-WinRegistryKey {
    param([string] $Path, [string] $Security)
    Add-Call -Text ('key ' + $Path)
}

function Set-WinTaskFolder {
    Add-Call -Text 'task folder'
}

function Set-WinTask {
    param([string] $Name, [string] $Xml, [string] $Security)
    Add-Call -Text ('task ' + $Name.Split('-')[0] + ' ' + (Get-Xml -Text $Xml -Name 'Principal'))
}

function Remove-WinTask {
    param([string] $Name)
    Add-Call -Text ('no task ' + $Name.Split('-')[0])
}

function Test-WinTaskRuns {
    param([string] $Name)
    $script:World.Running -ccontains $Name
}

function Start-WinTask {
    param([string] $Name)
    Add-Call -Text ('start ' + $Name)
}

function Get-WinTaskRun {
    param([string] $Name)
    @{ State = 3; Time = 1; Result = $script:World.Result }
}

function Remove-WinTaskFolder {
    Add-Call -Text 'no task folder'
}

function Remove-UserFiles {
    param([string] $Path)
    Add-Call -Text 'no user files'
}

function Remove-ProgramFiles {
    param([string] $Path, [string[]] $Names)
    Add-Call -Text 'no programs'
}

function Get-OrderText {
    param([string] $Action, [string] $Agreed)
    $policy = 'null'
    $files = ''
    if ($Action -ceq 'install') {
        $policy = Get-PolicySample
        $files = @(foreach ($name in @('forward.ps1', 'wslmesh-relay.exe')) {
            '{"name":"' + $name + '","sha256":"' + (Get-SampleHash -Name $name) + '"}'
        }) -join ','
    }
    '{"version":1,"action":"' + $Action + '","ticket":7,"user":"' + $script:World.Sid + '","answer-until":1800000100,"agreed":' + $Agreed + ',"policy":' + $policy + ',"files":[' + $files + ']}'
}

function Reset-SetupWorld {
    Reset-HostWorld
    $script:World.Account.Elevated = $true
}

# The contents of the first element of a name.
function Get-Xml {
    param([string] $Text, [string] $Name)
    ([xml] $Text).GetElementsByTagName($Name)[0].InnerText
}

function Get-Code {
    param([string] $Action)
    @(Invoke-Order -Text (Get-OrderText -Action $Action -Agreed 'false') -Folder 'S:')[-1]
}

Test-Case -Name 'an install in its order' -Body {
    Reset-SetupWorld
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'install')
    $own = 'P:\wslmesh\' + $script:World.Sid
    $mark = 'folder P:\wslmesh;folder ' + $own + ';'
    $calls = @($script:World.Calls | Where-Object { $_ -notlike 'selection*' })
    Assert-Equal -Expected ('question;' + $mark + 'folder P:\wslmesh;folder ' + $own + ';file P:\wslmesh\forward.ps1;file P:\wslmesh\wslmesh-relay.exe;' +
        'task folder;task try ' + $script:World.Sid + 'InteractiveTokenLeastPrivilege;start try-' + $script:World.Sid + ';no task try;' +
        'key SOFTWARE\wslmesh;key SOFTWARE\wslmesh\' + $script:World.Sid + ';value SOFTWARE\wslmesh installed;value SOFTWARE\wslmesh\' + $script:World.Sid + ' policy;no value relay;task folder;folder ' + $own + '\inbox;task forward S-1-5-18HighestAvailable;task logon ' + $script:World.Sid + 'InteractiveTokenLeastPrivilege' +
        ';folder P:\wslmesh;folder ' + $own) -Found ($calls -join ';')
    $result = ConvertFrom-Json -InputObject $script:World.Written
    Assert-Equal -Expected 'installed' -Found $result.state
    Assert-Equal -Expected 7 -Found $result.ticket
    Assert-Equal -Expected 'S-1-5-21-9-9-9-500' -Found $result.administrator
}

Test-Case -Name 'the window says for whom, and that another account does it' -Body {
    Reset-SetupWorld
    $script:World.Said = 'no'
    Assert-Equal -Expected 20 -Found (Get-Code -Action 'install')
    $text = $script:World.Lines -join "`n"
    foreach ($words in @('PC\me', $script:World.Sid, 'another account', 'any of the ports 2000 to 2999', 'port 51820', 'the address 127.0.0.1', 'Debian')) {
        Assert-True -Found $text.Contains($words) -What $words
    }
}

Test-Case -Name 'nothing is done without rights, a yes in time, and the files that were ordered' -Body {
    Reset-SetupWorld
    $script:World.Account.Elevated = $false
    Assert-Equal -Expected 22 -Found (Get-Code -Action 'install')
    $script:World.Account.Elevated = $true
    $script:World.Time = [long] 1800000101
    Assert-Equal -Expected 25 -Found (Get-Code -Action 'install')
    $text = Get-OrderText -Action 'install' -Agreed 'false'
    $script:World.Files['S:\wslmesh-relay.exe'] = [byte[]] @(1, 2, 3)
    Assert-Equal -Expected 21 -Found @(Invoke-Order -Text $text -Folder 'S:')[-1]
    $script:World.Files.Remove('S:\wslmesh-relay.exe')
    Assert-Equal -Expected 29 -Found @(Invoke-Order -Text $text -Folder 'S:')[-1]
    Assert-Equal -Expected 'question' -Found ($script:World.Calls -join ';')
}

Test-Case -Name 'an agreement without a question needs a process without a console' -Body {
    Reset-SetupWorld
    $text = Get-OrderText -Action 'install' -Agreed 'true'
    Assert-Equal -Expected 20 -Found @(Invoke-Order -Text $text -Folder 'S:')[-1]
    Assert-Equal -Expected 0 -Found $script:World.Calls.Count
    $script:World.NoConsole = $true
    Assert-Equal -Expected 0 -Found @(Invoke-Order -Text $text -Folder 'S:')[-1]
    Assert-True -Found (-not $script:World.Calls.Contains('question')) -What 'no question'
}

Test-Case -Name 'a place that is not ours and another contract stop an install' -Body {
    Reset-SetupWorld
    $script:World.Folders['foreign'] = $true
    Assert-Equal -Expected 26 -Found (Get-Code -Action 'install')
    $script:World.Folders.Remove('foreign')
    $script:World.Registry['SOFTWARE\wslmesh'] = @{ 'installed' = '{"version":"9.0.0","contract":3,"files":[]}' }
    $script:World.Registry['SOFTWARE\wslmesh\S-1-5-21-1-2-3-1002'] = @{ 'policy' = 'x' }
    Assert-Equal -Expected 24 -Found (Get-Code -Action 'install')
    Assert-Equal -Expected 0 -Found $script:World.Calls.Count
}

Test-Case -Name 'what another user installed while the question was read stops an install' -Body {
    Reset-SetupWorld
    $script:World.Waited = {
        $script:World.Registry['SOFTWARE\wslmesh'] = @{ 'installed' = '{"version":"9.0.0","contract":3,"files":[]}' }
        $script:World.Registry['SOFTWARE\wslmesh\S-1-5-21-1-2-3-1002'] = @{ 'policy' = 'x' }
    }
    Assert-Equal -Expected 24 -Found (Get-Code -Action 'install')
    Assert-Equal -Expected 'question' -Found ($script:World.Calls -join ';')
    Assert-True -Found $script:World.Lock -What 'the lock is free'
}

Test-Case -Name 'an install stops at its first failure and says so' -Body {
    Reset-SetupWorld
    $script:World.Broken = 'value SOFTWARE\wslmesh installed'
    Assert-Equal -Expected 23 -Found (Get-Code -Action 'install')
    Assert-True -Found (-not ($script:World.Calls -join ';').Contains('task forward')) -What 'no task'
    Assert-Equal -Expected 'failed' -Found (ConvertFrom-Json -InputObject $script:World.Written).state
}

Test-Case -Name 'what kept the distribution runs again after an install' -Body {
    Reset-SetupWorld
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'install')
    Assert-True -Found (-not ($script:World.Calls -join ';').Contains('start logon')) -What 'nothing ran'
    $script:World.Running = @('logon-' + $script:World.Sid)
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'install')
    $calls = $script:World.Calls -join ';'
    Assert-True -Found $calls.Contains('task logon ' + $script:World.Sid + 'InteractiveTokenLeastPrivilege;start logon-' + $script:World.Sid) -What 'the new task is started'
}

Test-Case -Name 'another policy takes the rules of the former one away' -Body {
    $old = Get-PolicySample
    $cases = @(
        @{ Old = $old; Left = 1 }
        @{ Old = $old.Replace('"package":"0.1.0"', '"package":"0.0.9"'); Left = 1 }
        @{ Old = $old.Replace('2999', '2998'); Left = 0 }
        @{ Old = $old.Replace('"private"', '"public"'); Left = 0 }
        @{ Old = '{'; Left = 0 }
    )
    foreach ($case in $cases) {
        Reset-World
        Reset-SetupWorld
        $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid] = @{ 'policy' = $case.Old }
        $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22' }
        $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
        Assert-Equal -Expected 0 -Found (Get-Code -Action 'install')
        Assert-Equal -Expected $case.Left -Found $script:World.Table.Count
        Assert-Equal -Expected $case.Left -Found @($script:World.Ledger.Keys -clike 'tcp/*').Count
    }
}

# The install of this policy, and what the relay's start ended with.
function Get-Install {
    param([string] $Policy, [string] $Result)
    Reset-World
    Reset-SetupWorld
    $script:World.Result = $Result
    $text = (Get-OrderText -Action 'install' -Agreed 'false').Replace((Get-PolicySample), $Policy)
    Assert-Equal -Expected 0 -Found @(Invoke-Order -Text $text -Folder 'S:')[-1]
    $script:World.Calls -join ';'
}

Test-Case -Name 'a task and its request file are made only where the port proxy serves' -Body {
    $auto = (Get-PolicySample).Replace('"portproxy"', '"auto"')
    $cases = @(
        @{ Policy = Get-PolicySample; Result = '0x00000000'; Task = $true; Value = $false }
        @{ Policy = $auto; Result = '0x00000000'; Task = $false; Value = $false }
        @{ Policy = $auto.Replace('"auto"', '"relay"'); Result = '0x800704ec'; Task = $false; Value = $true }
        @{ Policy = $auto.Replace('"nat"', '"mirrored"'); Result = '0x800704ec'; Task = $false; Value = $true }
        # Group policy, Smart App Control.
        @{ Policy = $auto; Result = '0x800704ec'; Task = $true; Value = $true }
        @{ Policy = $auto; Result = '0x800711c7'; Task = $true; Value = $true }
        # Another failure, an exit code of its own, and a task that never ran.
        @{ Policy = $auto; Result = '0x80070002'; Task = $false; Value = $false }
        @{ Policy = $auto; Result = '0x000004ec'; Task = $false; Value = $false }
        @{ Policy = $auto; Result = '0x00041303'; Task = $false; Value = $false }
    )
    foreach ($case in $cases) {
        $calls = Get-Install -Policy $case.Policy -Result $case.Result
        Assert-Equal -Expected $case.Task -Found $calls.Contains('task forward S-1-5-18')
        Assert-Equal -Expected $case.Task -Found $calls.Contains('\inbox')
        Assert-Equal -Expected (-not $case.Task) -Found $calls.Contains('no task forward')
        Assert-Equal -Expected $case.Value -Found $calls.Contains('value SOFTWARE\wslmesh\' + $script:World.Sid + ' relay')
        Assert-True -Found $calls.Contains('no task try') -What 'the trial leaves no task'
    }
}

Test-Case -Name 'the firewall has a rule for each grant that lets in' -Body {
    [void] (Get-Install -Policy (Get-PolicySample).Replace('"portproxy"', '"auto"') -Result '0x00000000')
    $names = @($script:World.Rules | ForEach-Object { $_.Name.Replace($script:World.Sid, 'USER') } | Sort-Object) -join ';'
    Assert-Equal -Expected 'wslmesh-machine-block;wslmesh-machine-loopback;wslmesh-USER-tcp-2000-2999-relay;wslmesh-USER-udp-51820-relay' -Found $names
    Assert-Equal -Expected 'firewall/wslmesh-USER-tcp-2000-2999-relay;firewall/wslmesh-USER-udp-51820-relay' -Found (@($script:World.Ledger.Keys | ForEach-Object { $_.Replace($script:World.Sid, 'USER') } | Sort-Object) -join ';')
    $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid] = @{ 'policy' = (Get-PolicySample).Replace('"portproxy"', '"auto"') }
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'uninstall')
    Assert-Equal -Expected '0 0' -Found ('{0} {1}' -f $script:World.Rules.Count, $script:World.Ledger.Count)
}

Test-Case -Name 'in mirrored mode Hyper-V rules only where Windows does not merge its own' -Body {
    $policy = (Get-PolicySample).Replace('"nat"', '"mirrored"')
    [void] (Get-Install -Policy $policy -Result '0x00000000')
    Assert-Equal -Expected '2 0' -Found ('{0} {1}' -f @(Find-WorldRules -Like '*-mirrored').Count, $script:World.HyperV.Count)
    function Get-WinGuestSetting {
        param([int] $Seconds)
        @{ Items = @(ConvertFrom-Json -InputObject '{"AllowHostPolicyMerge":0}'); Problem = $null; Absent = $false }
    }
    [void] (Get-Install -Policy $policy -Result '0x00000000')
    Assert-Equal -Expected '0 2' -Found ('{0} {1}' -f @(Find-WorldRules -Like '*-mirrored').Count, $script:World.HyperV.Count)
    Assert-Equal -Expected 'wslmesh-S-1-5-21-1-2-3-1001-tcp-2000-2999-hyperv 2000-2999 192.168.50.0/24,2001:db8:1::/64,fe80::/64' -Found ('{0} {1} {2}' -f $script:World.HyperV[0].Name, $script:World.HyperV[0].LocalPorts, $script:World.HyperV[0].Remote)
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'uninstall')
    Assert-Equal -Expected '0 0' -Found ('{0} {1}' -f $script:World.HyperV.Count, $script:World.Ledger.Count)
}

Test-Case -Name 'subnets of IPv6 for the firewall of guests' -Body {
    foreach ($case in @(
        @('2001:db8:1:2:3:4:5:6', 64, '2001:db8:1:2::/64'), @('2001:db8:1:2:3:4:5:6', 60, '2001:db8:1::/60'), @('2001:db8:1:2:3:4:5:6', 128, '2001:db8:1:2:3:4:5:6/128'),
        @('fd12:3456:789a:ffff::1', 49, 'fd12:3456:789a:8000::/49'), @('fe80::1%7', 64, 'fe80::/64'), @('ffff::1', 1, '8000::/1')
    )) {
        $bytes = ([System.Net.IPAddress]::Parse($case[0])).GetAddressBytes()
        Assert-Equal -Expected $case[2] -Found (ConvertTo-IPv6Subnet -Bytes $bytes -Length $case[1])
    }
    function Get-WinIPv6Addresses {
        @()
    }
    Assert-Equal -Expected '192.168.50.0/24' -Found (Get-LocalSubnets)
}

Test-Case -Name 'what version 0.1.0 left goes' -Body {
    $auto = (Get-PolicySample).Replace('"portproxy"', '"auto"')
    Reset-World
    Reset-SetupWorld
    $old = 'wslmesh-' + $script:World.Sid
    $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid] = @{ 'policy' = '{"version":1}' }
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    foreach ($name in @(($old + '-tcp-2222-portproxy'), ($old + '-udp-51820-relay'))) {
        $script:World.Ledger['firewall/' + $name] = 'windows'
        [void] $script:World.Rules.Add((New-RuleSample -Name $name))
    }
    $script:World.Ledger['firewall/' + $old + '-tcp-2222-guest'] = 'hyper-v'
    [void] $script:World.HyperV.Add((New-RuleSample -Name ($old + '-tcp-2222-guest')))
    $text = (Get-OrderText -Action 'install' -Agreed 'false').Replace((Get-PolicySample), $auto)
    Assert-Equal -Expected 0 -Found @(Invoke-Order -Text $text -Folder 'S:')[-1]
    Assert-Equal -Expected '0 0 2' -Found ('{0} {1} {2}' -f $script:World.Table.Count, $script:World.HyperV.Count, @(Find-WorldRules -Like '*-relay').Count)
    Assert-True -Found $script:World.Calls.Contains('no task forward') -What 'the task goes'
    Assert-True -Found $script:World.Calls.Contains('no user files') -What 'and its request file'
}

Test-Case -Name 'a firewall that is not running is no reason to install nothing' -Body {
    function Get-WinFirewall {
        param([hashtable] $Names, [bool] $Blocking, [bool] $Allowing)
        throw (New-Object System.Runtime.InteropServices.COMException('x', -2147023143))
    }
    $auto = (Get-PolicySample).Replace('"portproxy"', '"auto"')
    [void] (Get-Install -Policy $auto -Result '0x00000000')
    Assert-True -Found $script:World.Written.Contains('it is not running, and has no rules') -What $script:World.Written
    Assert-Equal -Expected 23 -Found (Get-Code -Action 'uninstall')
}

Test-Case -Name 'a removal in its order, and only ours' -Body {
    Reset-SetupWorld
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22'; '0.0.0.0/80' = '10.0.0.1/80' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'uninstall')
    Assert-Equal -Expected '0.0.0.0/80=10.0.0.1/80' -Found (Get-TableText -Table $script:World.Table)
    Assert-Equal -Expected ('question;folder P:\wslmesh;folder P:\wslmesh\' + $script:World.Sid + ';no task forward;no task logon;no task try;no task folder;no value policy;no key SOFTWARE\wslmesh\' + $script:World.Sid + ';no user files;no programs;no key SOFTWARE\wslmesh') -Found ($script:World.Calls -join ';')
    Assert-True -Found $script:World.Written.Contains('"state":"agreed"') -What 'the mark, and no result after it'
    # A second time there is nothing, and nothing fails.
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'uninstall')
}

Test-Case -Name 'a removal does without the service of the port proxy' -Body {
    Reset-SetupWorld
    $script:World.Service = $false
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'uninstall')
    Assert-Equal -Expected 0 -Found $script:World.Table.Count
}

Test-Case -Name 'a removal closes a port that the service of the port proxy never heard of' -Body {
    # Hears of a rule that is made and removed, or of nothing.
    function Invoke-NetshScript {
        param([string[]] $Lines)
        foreach ($line in $Lines) { Add-Call -Text ($line.Split(' ')[2]) }
        Assert-Equal -Expected '172.28.16.5/22' -Found $script:World.Ledger['tcp/0.0.0.0/2222']
        if (-not $script:World.Deaf) { $script:World.Listening = @{} }
    }
    foreach ($case in @(
            @{ Deaf = $false; Owner = 'svchost'; Code = 0; Netsh = 'add,delete'; Ledger = 0 }
            @{ Deaf = $true; Owner = 'svchost'; Code = 23; Netsh = 'add,delete'; Ledger = 1 }
            @{ Deaf = $true; Owner = 'nginx'; Code = 0; Netsh = ''; Ledger = 0 }
        )) {
        Reset-World
        Reset-SetupWorld
        $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
        $script:World.Listening = @{ '2222' = @('0.0.0.0') }
        $script:World.Owners = @{ Address = '0.0.0.0'; Port = 2222; Name = $case.Owner; Id = 4 }
        $script:World.Deaf = $case.Deaf
        Assert-Equal -Expected $case.Code -Found (Get-Code -Action 'uninstall')
        Assert-Equal -Expected $case.Netsh -Found (@($script:World.Calls | Where-Object { @('add', 'delete') -ccontains $_ }) -join ',')
        Assert-Equal -Expected $case.Ledger -Found $script:World.Ledger.Count
        if ($case.Code -ne 0) {
            Assert-Equal -Expected 'port 2222 is still listened on; restart the service IP Helper (iphlpsvc) or Windows' -Found (ConvertFrom-Json -InputObject $script:World.Written).detail
        }
    }
}

Test-Case -Name 'a removal goes on after a failure, and the ledger stays while rules do' -Body {
    Reset-SetupWorld
    $script:World.Service = $false
    $script:World.Broken = 'values of the port proxy'
    $script:World.Table = @{ '0.0.0.0/2222' = '172.28.16.5/22' }
    $script:World.Ledger = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22' }
    Assert-Equal -Expected 23 -Found (Get-Code -Action 'uninstall')
    Assert-True -Found $script:World.Calls.Contains('no task forward') -What 'tasks go all the same'
    Assert-True -Found (-not $script:World.Calls.Contains('no key SOFTWARE\wslmesh\' + $script:World.Sid)) -What 'the ledger stays'
    Assert-Equal -Expected 1 -Found $script:World.Ledger.Count
}

Test-Case -Name 'programs stay while another user has them' -Body {
    Reset-SetupWorld
    $script:World.Registry['SOFTWARE\wslmesh\S-1-5-21-1-2-3-1002'] = @{ 'policy' = 'x' }
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'uninstall')
    Assert-True -Found (-not $script:World.Calls.Contains('no programs')) -What 'programs stay'
    # A key without a policy needs nothing.
    $script:World.Registry['SOFTWARE\wslmesh\S-1-5-21-1-2-3-1002'] = @{}
    Assert-Equal -Expected 0 -Found (Get-Code -Action 'uninstall')
    Assert-True -Found $script:World.Calls.Contains('no programs') -What 'programs go'
}

Test-Case -Name 'the tasks are XML, and run what they should as whom they should' -Body {
    Reset-SetupWorld
    $policy = ConvertTo-PolicyTable -Text (Get-PolicySample)
    $actions = Get-TaskActions -Sid $script:World.Sid -Places (Get-Places) -Policy $policy
    $task = New-TaskXml -Sid $script:World.Sid -Kind 'forward' -Action $actions.Forward -Folder 'W:\'
    Assert-Equal -Expected 'S-1-5-18' -Found (Get-Xml -Text $task -Name 'UserId')
    Assert-Equal -Expected 'Queue' -Found (Get-Xml -Text $task -Name 'MultipleInstancesPolicy')
    Assert-Equal -Expected 'PT1M' -Found (Get-Xml -Text $task -Name 'ExecutionTimeLimit')
    Assert-Equal -Expected 'false' -Found (Get-Xml -Text $task -Name 'DisallowStartIfOnBatteries')
    Assert-Equal -Expected ('-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "P:\wslmesh\forward.ps1" -Sid ' + $script:World.Sid) -Found (Get-Xml -Text $task -Name 'Arguments')
    $task = New-TaskXml -Sid $script:World.Sid -Kind 'logon' -Action $actions.Logon -Folder 'W:\'
    Assert-Equal -Expected 'LeastPrivilege' -Found (Get-Xml -Text $task -Name 'RunLevel')
    Assert-Equal -Expected $script:World.Sid -Found (Get-Xml -Text $task -Name 'UserId')
    Assert-Equal -Expected 'PT0S' -Found (Get-Xml -Text $task -Name 'ExecutionTimeLimit')
    Assert-Equal -Expected '-d Debian --cd / --exec sleep infinity' -Found (Get-Xml -Text $task -Name 'Arguments')
}

Test-Case -Name 'the lists of rights are Windows'' own notation' -Body {
    foreach ($text in @($ProgramSecurity, $FolderSecurity, $SelectionSecurity, $KeySecurity, $TaskFolderSecurity, $TaskSecurity)) {
        $parsed = New-Object System.Security.AccessControl.RawSecurityDescriptor($text -f 'S-1-5-21-1-2-3-1001')
        Assert-Equal -Expected 'S-1-5-32-544' -Found $parsed.Owner.Value
        Assert-Equal -Expected 3 -Found $parsed.DiscretionaryAcl.Count
    }
}
