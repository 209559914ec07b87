# host.ps1, with a Windows of tables and an elevated side that is a script block.

$more = [System.IO.Path]::Combine($PSScriptRoot, 'world-host.ps1')
. $more
$install = [System.IO.Path]::Combine($PSScriptRoot, 'world-install.ps1')
. $install

Test-Case -Name 'a look at a machine without us' -Body {
    Reset-HostWorld
    $answer = Get-Answer -Text '{"version":1,"action":"look"}'
    Assert-Equal -Expected 'looked' -Found $answer.state
    Assert-True -Found ($null -eq $answer.installed) -What 'nothing installed'
    Assert-Equal -Expected 0 -Found $script:World.Calls.Count
}

Test-Case -Name 'what a person chose under version 0.1.0 is known' -Body {
    Reset-HostWorld
    $old = '{"version":1,"package":"0.1.0","distribution":"Debian","logon":false,"profiles":["domain","private","public"],"grants":[' +
        '{"protocol":"tcp","listen-address":"0.0.0.0","listen-ports":[2222,2222],"connect-ports":[22,22],"firewall":"local"}]}'
    $script:World.Registry['SOFTWARE\wslmesh'] = @{ 'installed' = '{"version":"0.1.0","contract":1,"files":[]}' }
    $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid] = @{ 'policy' = $old }
    $answer = Get-Answer -Text '{"version":1,"action":"look"}'
    Assert-Equal -Expected 'False domain,private,public nat auto 1' -Found ('{0} {1} {2} {3} {4}' -f $answer.policy.logon, ($answer.policy.profiles -join ','), $answer.policy.mode, $answer.policy.grants[0].backend, $answer.installed.contract)
}

Test-Case -Name 'each thing that an install left and that is gone is something to do' -Body {
    $changes = @(
        { $script:World.Tasks.Try = @{ Enabled = $true; Program = ''; Arguments = '' } }
        { $script:World.Tasks.Logon = $null }
        { $script:World.RelayError = 1260 }
        { $script:World.Rules.Remove((Find-WorldRules -Like '*-udp-*')) }
        { $script:World.Rules.Remove((Find-WorldRules -Like 'wslmesh-machine-block')) }
        { $rule = Find-WorldRules -Like '*-udp-*'; $rule.Enabled = $false }
        { $script:World.Table['0.0.0.0/5000'] = '172.28.16.5/22'; $script:World.Ledger['tcp/0.0.0.0/5000'] = '172.28.16.5/22' }
    )
    foreach ($change in $changes) {
        Reset-World
        Reset-HostWorld
        Set-InstalledWorld
        $script:World.Setup = { @{ Started = $false; Ended = $false; Code = 1223 } }
        Assert-Equal -Expected 'nothing-to-do' -Found (Get-Answer -Text (Get-InstallRequest)).state
        & $change
        Assert-Equal -Expected 'declined' -Found (Get-Answer -Text (Get-InstallRequest)).state
    }
    # A forward of the port proxy that the policy has, with its rule, is none.
    Reset-World
    Reset-HostWorld
    Set-InstalledWorld
    $script:World.Table['0.0.0.0/2222'] = '172.28.16.5/22'
    $script:World.Ledger['tcp/0.0.0.0/2222'] = '172.28.16.5/22'
    $policy = Get-InstalledPolicy -Sid $script:World.Sid
    $forwards = @(Get-OwnForwards -Sid $script:World.Sid -Policy $policy)
    [void] (Sync-Firewall -Policy $policy -Forwards $forwards -Owned (Read-Rules -Sid $script:World.Sid).Owned -Sid $script:World.Sid -Guest '' -Write $true)
    Assert-Equal -Expected 1 -Found @(Find-WorldRules -Like '*-2222-portproxy').Count
    Assert-Equal -Expected 'nothing-to-do' -Found (Get-Answer -Text (Get-InstallRequest)).state
}

Test-Case -Name 'an install hands over an order and a loader that names its hash' -Body {
    Reset-HostWorld
    $script:World.Setup = {
        Set-InstalledWorld
        Set-Result -Ticket 7 -State 'installed' -Administrator 'S-1-5-21-9-9-9-500'
        @{ Started = $true; Ended = $true; Code = 0 }
    }
    $answer = Get-Answer -Text (Get-InstallRequest)
    Assert-Equal -Expected 'installed' -Found $answer.state
    Assert-True -Found $answer.'over-the-shoulder' -What 'another account did it'
    Assert-Equal -Expected 'a line' -Found $answer.done[0]
    $order = Get-Order
    Assert-Equal -Expected $script:World.Sid -Found $order.user
    Assert-Equal -Expected 'Debian' -Found $order.policy.distribution
    Assert-Equal -Expected '2000 2999' -Found ($order.policy.grants[0].'listen-ports' -join ' ')
    Assert-Equal -Expected 2 -Found @($order.files).Count
    Assert-Equal -Expected ($script:World.Time + 125) -Found $order.'answer-until'
    $hash = Get-Hash -Bytes $script:World.Files['U:\wslmesh\staging\order.json']
    Assert-True -Found $script:World.Loader.Contains("'order.json', '" + $hash + "'") -What 'the hash of the order'
    Assert-True -Found $script:World.Loader.Contains("'setup.ps1', '" + (Get-SampleHash -Name 'setup.ps1') + "'") -What 'the hash of the setup'
    Assert-True -Found (-not $script:World.Loader.Contains('__')) -What 'no open place'
    Assert-Equal -Expected 'no staging, start, raise True, no staging' -Found ($script:World.Calls -join ', ')
}

Test-Case -Name 'a setup that says it is done is not believed' -Body {
    Reset-HostWorld
    $script:World.Setup = {
        Set-Result -Ticket 7 -State 'installed' -Administrator $script:World.Sid
        @{ Started = $true; Ended = $true; Code = 0 }
    }
    Assert-Equal -Expected 'failed' -Found (Get-Answer -Text (Get-InstallRequest)).state
}

Test-Case -Name 'the result of another order says nothing' -Body {
    Reset-HostWorld
    $script:World.Setup = {
        Set-Result -Ticket 8 -State 'installed' -Administrator $script:World.Sid
        @{ Started = $true; Ended = $true; Code = 23 }
    }
    $answer = Get-Answer -Text (Get-InstallRequest)
    Assert-Equal -Expected 'failed' -Found $answer.state
    Assert-Equal -Expected 0 -Found @($answer.done).Count
}

Test-Case -Name 'a file that is not the one asked for stops everything before a question' -Body {
    Reset-HostWorld
    $request = Get-InstallRequest
    $script:World.Files['S:\forward.ps1'] = [byte[]] @(1, 2, 3)
    Assert-Equal -Expected 'verification-failed' -Found (Get-Answer -Text $request).state
    Assert-Equal -Expected 'no staging, no staging' -Found ($script:World.Calls -join ', ')
}

Test-Case -Name 'an install that would change nothing asks nobody' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    Assert-Equal -Expected 'nothing-to-do' -Found (Get-Answer -Text (Get-InstallRequest)).state
    Assert-Equal -Expected 0 -Found $script:World.Calls.Count
    $script:World.Setup = { @{ Started = $false; Ended = $false; Code = 1223 } }
    $script:World.Files.Remove('P:\wslmesh\' + $script:World.Sid + '\inbox\selection.json')
    Assert-Equal -Expected 'declined' -Found (Get-Answer -Text (Get-InstallRequest)).state
    Set-InstalledWorld
    $script:World.Tasks.Forward.Enabled = $false
    Assert-Equal -Expected 'declined' -Found (Get-Answer -Text (Get-InstallRequest)).state
}

Test-Case -Name 'a machine is clean when nothing of this user and nothing unused is left' -Body {
    $leftovers = @(
        { $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid] = @{} }
        { $script:World.Registry['SOFTWARE\wslmesh'] = @{ 'installed' = '{"version":"0.1.0","contract":2,"files":[]}' } }
        { $script:World.Files['P:\wslmesh\forward.ps1'] = [byte[]] @(1) }
        { $script:World.Folders['P:\wslmesh\' + $script:World.Sid] = $true }
    )
    foreach ($leftover in $leftovers) {
        Reset-World
        Reset-HostWorld
        & $leftover
        $script:World.Setup = { @{ Started = $false; Ended = $false; Code = 1223 } }
        Assert-Equal -Expected 'declined' -Found (Get-Answer -Text (Get-UninstallRequest)).state
    }
}

Test-Case -Name 'an empty key of another user is nobody who needs the programs' -Body {
    Reset-HostWorld
    $other = 'S-1-5-21-1-2-3-1002'
    $script:World.Registry['SOFTWARE\wslmesh'] = @{ 'installed' = '{"version":"0.1.0","contract":2,"files":[]}' }
    $script:World.Registry['SOFTWARE\wslmesh\' + $other] = @{}
    $script:World.Registry['SOFTWARE\wslmesh\' + $other + '\ledger'] = @{}
    $answer = Get-Answer -Text '{"version":1,"action":"look"}'
    Assert-Equal -Expected 0 -Found @($answer.'other-users').Count
    $script:World.Registry['SOFTWARE\wslmesh\' + $other] = @{ 'policy' = 'x' }
    Assert-Equal -Expected 'nothing-to-do' -Found (Get-Answer -Text (Get-UninstallRequest)).state
}

Test-Case -Name 'refusals of Windows have their own states' -Body {
    $cases = @(
        @{ Code = 1223; Administrator = $true; Denied = $false; State = 'declined' }
        @{ Code = 1223; Administrator = $false; Denied = $false; State = 'declined' }
        @{ Code = 1223; Administrator = $false; Denied = $true; State = 'forbidden' }
        @{ Code = 1260; Administrator = $true; Denied = $false; State = 'forbidden' }
        @{ Code = 4551; Administrator = $true; Denied = $false; State = 'forbidden' }
        @{ Code = 4580; Administrator = $true; Denied = $false; State = 'forbidden' }
        @{ Code = 5; Administrator = $true; Denied = $false; State = 'forbidden' }
        @{ Code = 2; Administrator = $true; Denied = $false; State = 'failed' }
    )
    $words = @{}
    foreach ($case in $cases) {
        Reset-World
        Reset-HostWorld
        $script:World.Account.Administrator = $case.Administrator
        $script:World.Account.StandardDenied = $case.Denied
        $code = $case.Code
        $script:World.Setup = { @{ Started = $false; Ended = $false; Code = $code } }
        $answer = Get-Answer -Text (Get-InstallRequest)
        Assert-Equal -Expected $case.State -Found $answer.state
        $words[$answer.detail] = $true
    }
    Assert-Equal -Expected $cases.Count -Found $words.Count
}

Test-Case -Name 'ends of the elevated side have their own states' -Body {
    $cases = @{ 1 = 'failed'; 28 = 'constrained'; 29 = 'failed'; 20 = 'refused'; 21 = 'verification-failed'; 22 = 'failed'; 24 = 'other-user-version'; 25 = 'refused'; 26 = 'failed'; 27 = 'failed'; -1073741510 = 'refused' }
    foreach ($code in @($cases.Keys)) {
        Reset-World
        Reset-HostWorld
        $script:World.Setup = { @{ Started = $true; Ended = $true; Code = $code } }
        Assert-Equal -Expected $cases[$code] -Found (Get-Answer -Text (Get-InstallRequest)).state
    }
}

Test-Case -Name 'what cannot work is said before anybody is asked' -Body {
    Reset-HostWorld
    $script:World.Account.Session = 0
    Assert-Equal -Expected 'no-desktop' -Found (Get-Answer -Text (Get-InstallRequest)).state
    $script:World.Account.ScriptPolicy = 'AllSigned'
    Assert-Equal -Expected 'constrained' -Found (Get-Answer -Text (Get-InstallRequest)).state
    $script:World.Registry['SOFTWARE\wslmesh'] = @{ 'installed' = '{"version":"9.0.0","contract":3,"files":[]}' }
    $script:World.Registry['SOFTWARE\wslmesh\S-1-5-21-1-2-3-1002'] = @{ 'policy' = 'x' }
    $answer = Get-Answer -Text (Get-InstallRequest)
    Assert-Equal -Expected 'other-user-version' -Found $answer.state
    Assert-Equal -Expected 'S-1-5-21-1-2-3-1002' -Found $answer.'other-users'[0]
    Assert-Equal -Expected 0 -Found $script:World.Calls.Count
}

Test-Case -Name 'only a caller with rights may agree without a question' -Body {
    Reset-HostWorld
    $request = (Get-InstallRequest).Replace('"action":"install"', '"action":"install","agreed":true')
    Assert-Equal -Expected 'invalid-request' -Found (Get-Answer -Text $request).state
    $script:World.Account.Elevated = $true
    $script:World.Account.Session = 0
    $script:World.Setup = {
        Set-InstalledWorld
        @{ Started = $true; Ended = $true; Code = 0 }
    }
    Assert-Equal -Expected 'installed' -Found (Get-Answer -Text $request).state
    Assert-Equal -Expected 'no staging, start, agreed, no staging' -Found ($script:World.Calls -join ', ')
}

Test-Case -Name 'a call with rights writes and removes nothing in the folder of the user' -Body {
    Reset-HostWorld
    $script:World.Account.Elevated = $true
    $script:World.Folders['U:\wslmesh'] = $true
    $script:World.Setup = {
        Set-InstalledWorld
        @{ Started = $true; Ended = $true; Code = 0 }
    }
    Assert-Equal -Expected 'installed' -Found (Get-Answer -Text (Get-InstallRequest)).state
    # A folder of administrators.
    Assert-Equal -Expected $OwnFolderSecurity -Found $script:World.Folders['P:\wslmesh\staging']
    $script:World.Setup = {
        Set-CleanWorld
        $script:World.Folders['U:\wslmesh'] = $true
        @{ Started = $true; Ended = $true; Code = 0 }
    }
    $answer = Get-Answer -Text (Get-UninstallRequest)
    Assert-Equal -Expected 'removed' -Found $answer.state
    Assert-True -Found $script:World.Files.ContainsKey('P:\wslmesh\staging\order.json') -What 'the order lies there'
    Assert-Equal -Expected '' -Found (@($script:World.Files.Keys | Where-Object { $_ -like 'U:*' }) -join ' ')
    Assert-True -Found (-not $script:World.Calls.Contains('remove U:\wslmesh')) -What 'the folder of the user stays'
    Assert-True -Found (@($answer.done)[-1] -like 'not removed: the folder U:\wslmesh*') -What 'and that is said'
}
