# What the checks look at.

function Test-File {
    param([string] $Path)
    [System.IO.File]::Exists($Path)
}

function Test-Command {
    param([string] $Name)
    $null -ne (Get-Command -Name $Name -ErrorAction 'SilentlyContinue')
}

function Test-Interactive {
    [Environment]::UserInteractive
}

function Get-ProcessNumbers {
    param([string] $Name)
    foreach ($process in [System.Diagnostics.Process]::GetProcessesByName($Name)) {
        [int] $process.Id
    }
}

# Since this PowerShell was started.
function Get-AgeMilliseconds {
    $started = [System.Diagnostics.Process]::GetCurrentProcess().StartTime
    [int] [DateTime]::Now.Subtract($started).TotalMilliseconds
}

function Measure-Firewall {
    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    $policy = New-Object -ComObject 'HNetCfg.FwPolicy2'
    $rules = 0
    foreach ($rule in $policy.Rules) {
        if ($rule.Name.Length -gt 0) {
            $rules += 1
        }
    }
    [ordered] @{
        'rules' = $rules
        'profiles' = [int] $policy.CurrentProfileTypes
        'policy-state' = [int] $policy.LocalPolicyModifyState
        'milliseconds' = $watch.ElapsedMilliseconds
    }
}

# 4: the list of rights alone, without the owner.
function Get-LastRun {
    param([string] $Sid)
    $task = (Connect-Scheduler).GetFolder($TaskFolder).GetTask('forward-' + $Sid)
    @{
        Result = '0x{0:x8}' -f [int] $task.LastTaskResult
        Rights = [string] $task.GetSecurityDescriptor(4)
    }
}

# From the start to the end of one run, which repeats the last selection; at most 20 s.
function Measure-Task {
    param([string] $Sid)
    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    $task = (Connect-Scheduler).GetFolder($TaskFolder).GetTask('forward-' + $Sid)
    $before = $task.LastRunTime
    [void] $task.Run($null)
    while ($watch.ElapsedMilliseconds -lt 20000) {
        [System.Threading.Thread]::Sleep(50)
        # 3: ready again.
        if (($task.State -eq 3) -and ($task.LastRunTime -gt $before)) {
            break
        }
    }
    [int] $watch.ElapsedMilliseconds
}

# A second listener on a port of loopback that a first one has.
function Get-SecondBindError {
    $first = New-Object System.Net.Sockets.TcpListener([System.Net.IPAddress]::Loopback, 0)
    $first.Start()
    try {
        $second = New-Object System.Net.Sockets.TcpListener([System.Net.IPAddress]::Loopback, $first.LocalEndpoint.Port)
        try {
            $second.Start()
            $second.Stop()
            0
        } catch {
            Get-NativeCode -Exception $_.Exception
        }
    } finally {
        $first.Stop()
    }
}

function Find-UserRelays {
    param([string] $Path)
    if ([System.IO.Directory]::Exists($Path)) {
        [System.IO.Directory]::GetFiles($Path, 'wslmesh-relay-*.exe')
    }
}

# The relay ends when its standard input does.
function Invoke-Relay {
    param([string] $Path)
    $watch = [System.Diagnostics.Stopwatch]::StartNew()
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $Path
    $start.WorkingDirectory = [Environment]::SystemDirectory
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    try {
        $process = [System.Diagnostics.Process]::Start($start)
    } catch {
        return @{ Code = $null; Error = Get-NativeCode -Exception $_.Exception; Milliseconds = $watch.ElapsedMilliseconds }
    }
    $process.StandardInput.Close()
    [void] $process.StandardOutput.ReadToEndAsync()
    [void] $process.StandardError.ReadToEndAsync()
    if (-not $process.WaitForExit(5000)) {
        $process.Kill()
        return @{ Code = $null; Error = 'still running after 5 s'; Milliseconds = $watch.ElapsedMilliseconds }
    }
    @{ Code = $process.ExitCode; Error = $null; Milliseconds = $watch.ElapsedMilliseconds }
}

# Text that netsh prints for a file of lines. The file lies in the user's own folder:
# this runs without rights.
function Invoke-NetshTrial {
    param([string] $Folder, [string[]] $Lines)
    [void] [System.IO.Directory]::CreateDirectory($Folder)
    $path = $Folder + '\check-' + [System.IO.Path]::GetRandomFileName()
    [System.IO.File]::WriteAllText($path, ($Lines -join "`r`n") + "`r`n", [System.Text.Encoding]::ASCII)
    try {
        $netsh = [Environment]::SystemDirectory + '\netsh.exe'
        @(& $netsh '-f' $path) -join "`n"
    } finally {
        [System.IO.File]::Delete($path)
    }
}
