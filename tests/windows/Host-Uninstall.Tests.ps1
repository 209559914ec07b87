# host.ps1: removing, refused requests, and what is said while others are at work.

$more = [System.IO.Path]::Combine($PSScriptRoot, 'world-host.ps1')
. $more
$install = [System.IO.Path]::Combine($PSScriptRoot, 'world-install.ps1')
. $install

Test-Case -Name 'an uninstall is judged by what is left' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    $script:World.Setup = { @{ Started = $true; Ended = $true; Code = 0 } }
    Assert-Equal -Expected 'failed' -Found (Get-Answer -Text (Get-UninstallRequest)).state
    $script:World.Setup = {
        Set-CleanWorld
        @{ Started = $true; Ended = $true; Code = $null }
    }
    $script:World.Calls = New-Object System.Collections.ArrayList
    $answer = Get-Answer -Text (Get-UninstallRequest)
    # Without an exit code and without a result there is only the look.
    Assert-Equal -Expected 'removed' -Found $answer.state
    $script:World.Folders['U:\wslmesh'] = $true
    $answer = Get-Answer -Text (Get-UninstallRequest)
    Assert-Equal -Expected 'nothing-to-do' -Found $answer.state
    Assert-True -Found $script:World.Calls.Contains('remove U:\wslmesh') -What 'the folder of the user'
}

Test-Case -Name 'an uninstall runs the setup that was asked for and no other' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    $request = Get-UninstallRequest
    $script:World.Files['S:\setup.ps1'] = [byte[]] @(1, 2, 3)
    Assert-Equal -Expected 'verification-failed' -Found (Get-Answer -Text $request).state
    Assert-Equal -Expected 'no staging, no staging' -Found ($script:World.Calls -join ', ')
    Assert-Equal -Expected 'invalid-request' -Found (Get-Answer -Text '{"version":1,"action":"uninstall"}').state
}

Test-Case -Name 'an uninstall that worked says what went' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid + '\ledger'] = @{ 'tcp/0.0.0.0/2222' = '172.28.16.5/22'; 'firewall/a' = 'windows' }
    $script:World.Setup = {
        Set-CleanWorld
        @{ Started = $true; Ended = $true; Code = 0 }
    }
    $answer = Get-Answer -Text (Get-UninstallRequest)
    Assert-Equal -Expected 'removed' -Found $answer.state
    Assert-Equal -Expected 'port forwards: 1' -Found $answer.done[0]
    Assert-Equal -Expected 'firewall rules: 1' -Found $answer.done[1]
}

Test-Case -Name 'requests that are not of the contract' -Body {
    foreach ($text in @('', '[]', '{"version":1,"action":"remove"}', '{"version":2,"action":"look"}', '{"version":1,"action":"look","more":1}', '{"version":1,"action":"check"}')) {
        Reset-World
        Reset-HostWorld
        Assert-Equal -Expected 'invalid-request' -Found (Get-Answer -Text $text).state
    }
    foreach ($name in @('De"bian', '-d', 'a b', '; Remove-Item C:\', '')) {
        Reset-World
        Reset-HostWorld
        $request = (Get-InstallRequest).Replace('"Debian"', (ConvertTo-Json -InputObject $name -Compress))
        Assert-Equal -Expected 'invalid-request' -Found (Get-Answer -Text $request).state
    }
}

Test-Case -Name 'a setup that was agreed to has time for its work' -Body {
    $cases = @(
        @{ Mark = ''; Later = { throw 'not waited for' }; State = 'refused' }
        @{ Mark = 'agreed'; Later = { @{ Ended = $false; Code = $null } }; State = 'unfinished' }
        @{ Mark = 'agreed'; Later = { @{ Ended = $true; Code = 25 } }; State = 'refused' }
        @{ Mark = 'agreed'
            Later = {
                Set-InstalledWorld
                Set-Result -Ticket 7 -State 'installed' -Administrator $script:World.Sid
                @{ Started = $true; Ended = $true; Code = 0 }
            }
            State = 'installed' }
    )
    foreach ($case in $cases) {
        Reset-World
        Reset-HostWorld
        $mark = $case.Mark
        $script:World.Setup = {
            if ($mark -cne '') { Set-Result -Ticket 7 -State $mark -Administrator $script:World.Sid }
            @{ Started = $true; Ended = $false; Code = $null }
        }
        $script:World.Later = $case.Later
        Assert-Equal -Expected $case.State -Found (Get-Answer -Text (Get-InstallRequest)).state
    }
    Assert-True -Found $script:World.Calls.Contains('wait 90000') -What 'for a minute and a half'
}

Test-Case -Name 'while one call asks, another changes nothing' -Body {
    foreach ($elevated in @($false, $true)) {
        Reset-World
        Reset-HostWorld
        $script:World.Account.Elevated = $elevated
        $script:World.Asking = $true
        Assert-Equal -Expected 'busy' -Found (Get-Answer -Text (Get-InstallRequest)).state
        Assert-Equal -Expected 0 -Found $script:World.Calls.Count
    }
}

Test-Case -Name 'a call that changed nothing leaves no folder of its own' -Body {
    foreach ($elevated in @($false, $true)) {
        Reset-World
        Reset-HostWorld
        $script:World.Account.Elevated = $elevated
        $request = Get-InstallRequest
        $script:World.Files['S:\setup.ps1'] = [byte[]] @(1, 2, 3)
        Assert-Equal -Expected 'verification-failed' -Found (Get-Answer -Text $request).state
        Assert-Equal -Expected 0 -Found @($script:World.Folders.Keys | Where-Object { $_ -clike '*\wslmesh' }).Count
    }
}

Test-Case -Name 'where no call is without rights, one with them removes the folder of the user' -Body {
    $other = 'S-1-5-21-1-2-3-500'
    $cases = @(
        @{ Sid = $script:World.Sid; Policies = @{ 'EnableLUA' = '1' }; Always = $false }
        @{ Sid = $script:World.Sid; Policies = @{ 'EnableLUA' = '0' }; Always = $true }
        @{ Sid = $other; Policies = @{ 'EnableLUA' = '1' }; Always = $true }
        @{ Sid = $other; Policies = @{ 'FilterAdministratorToken' = '1' }; Always = $false }
    )
    foreach ($case in $cases) {
        Assert-Equal -Expected $case.Always -Found (Test-AlwaysElevated -Sid $case.Sid -Policies $case.Policies)
    }
    Reset-HostWorld
    $script:World.Account.Elevated = $true
    $script:World.Account.AlwaysElevated = $true
    $script:World.Folders['U:\wslmesh'] = $true
    Assert-Equal -Expected 'nothing-to-do' -Found (Get-Answer -Text (Get-UninstallRequest)).state
    Assert-True -Found $script:World.Calls.Contains('remove U:\wslmesh') -What 'the folder of the user'
}

Test-Case -Name 'the loader takes nothing that could end a text in quotes' -Body {
    $hash = 'a' * 64
    Assert-True -Found ((Get-Message -Body { ConvertTo-LoaderText -SetupHash ($hash + "'") -OrderHash $hash -Staging 'QUJD' }) -like 'a hash*') -What 'a hash'
    Assert-True -Found ((Get-Message -Body { ConvertTo-LoaderText -SetupHash $hash -OrderHash $hash -Staging "QU'JD" }) -like 'a path*') -What 'a path'
}

Test-Case -Name 'only two numbers of Windows mean that a task is not there' -Body {
    function Open-WinScheduler {
        if ($script:World.Stopped) { throw 'the service is not running' }
        'of another kind than was expected'
    }
    function Open-WinTask {
        param([string] $Name)
        throw (New-Object System.Runtime.InteropServices.COMException($Name, $script:World.Number))
    }
    Reset-HostWorld
    Assert-True -Found ((Get-Message -Body { Remove-WinTask -Name 'forward-x' }) -cne 'nothing was thrown') -What 'an error is no missing folder'
    $script:World.Stopped = $true
    Assert-Equal -Expected 'the service is not running' -Found (Get-Message -Body { Remove-WinTask -Name 'forward-x' })
    foreach ($number in @(-2147024894, -2147024893)) {
        $script:World.Number = $number
        Assert-True -Found ($null -eq (Get-WinTask -Name 'x')) -What 'not there'
    }
    # Denied: it is there.
    $script:World.Number = -2147024891
    Assert-True -Found (-not (Get-WinTask -Name 'x').Enabled) -What 'not as an install leaves it'
    $script:World.Number = -2147216619
    Assert-Equal -Expected 'x' -Found (Get-Message -Body { Get-WinTask -Name 'x' })
}

Test-Case -Name 'without the scheduler nothing is asked, installed or removed' -Body {
    Reset-HostWorld
    Set-InstalledWorld
    $script:World.Stopped = $true
    foreach ($request in @((Get-InstallRequest), (Get-UninstallRequest))) {
        $answer = Get-Answer -Text $request
        Assert-Equal -Expected 'failed' -Found $answer.state
        Assert-Equal -Expected 'could not look at the tasks: the service Schedule (Task Scheduler) is not running; start it (0x80041315)' -Found $answer.detail
    }
    Assert-Equal -Expected 0 -Found $script:World.Calls.Count
    Assert-Equal -Expected 'looked' -Found (Get-Answer -Text '{"version":1,"action":"look"}').state
}

Test-Case -Name 'a port that is taken has Windows'' number' -Body {
    Assert-Equal -Expected 10048 -Found (Get-WinSecondBindError)
}

Test-Case -Name 'a command in a thread of its own: its problem, its limit, and where modules come from' -Body {
    $found = Invoke-WinCommand -Name 'Get-Random' -Parameters @{ Minimum = 5; Maximum = 6 } -Seconds 20 -Module ''
    Assert-Equal -Expected '5 ' -Found ('{0} {1}' -f $found.Items[0], $found.Problem)
    Assert-Equal -Expected ($PSHOME + '\Modules') -Found $env:PSModulePath
    $found = Invoke-WinCommand -Name 'Get-Process' -Parameters @{ Name = 'no-such-program' } -Seconds 20 -Module ''
    Assert-True -Found ($found.Problem -clike 'could not run Get-Process: *no-such-program*') -What $found.Problem
    $found = Invoke-WinCommand -Name 'Start-Sleep' -Parameters @{ Seconds = 5 } -Seconds 1 -Module ''
    Assert-Equal -Expected 'no answer within 1 s' -Found $found.Problem
}
