# The parts of a Windows of tables that host.ps1 and setup.ps1 see: a registry, files,
# tasks and the elevated side. Read by their tests after world.ps1.

function Reset-HostWorld {
    $script:World += @{
        Registry = @{}
        Files = @{}
        Folders = @{}
        Tasks = @{ Forward = $null; Logon = $null; Try = $null }
        Account = @{ Sid = $script:World.Sid; Elevated = $false; Administrator = $true; AlwaysElevated = $false; StandardDenied = $false; ScriptPolicy = 'none'; Session = 1 }
        Time = [long] 1800000000
        # What was called, in its order.
        Calls = New-Object System.Collections.ArrayList
        # What the elevated side does, and how its process ends.
        Setup = { @{ Started = $true; Ended = $true; Code = 0 } }
        Loader = ''
        # How it ends when it is waited for once more.
        Later = { throw 'not waited for' }
        # Another call holds the lock.
        Asking = $false
        Said = 'yes'
        NoConsole = $false
        Lines = New-Object System.Collections.ArrayList
        Broken = ''
        # The service of the task scheduler.
        Stopped = $false
        # Of a failure of the scheduler.
        Number = 0
        # A folder that Windows does not name.
        Unnamed = ''
        # Names of tasks that run.
        Running = @()
        # Of this PowerShell, in milliseconds.
        Age = 900
        RunAs = '0x80070005'
        RelayBlocks = 0
        StartTasks = @()
        Disks = @()
        Disk = @{ Kind = 3; Free = 9000; Packed = $false }
        RelayError = $null
        # What the setup left as its result.
        Written = ''
        ModulePath = 'P:\Modules'
    }
    $source = [System.Text.Encoding]::ASCII
    foreach ($name in @('forward.ps1', 'setup.ps1', 'wslmesh-relay.exe')) {
        $script:World.Files['S:\' + $name] = $source.GetBytes('contents of ' + $name)
    }
}

function Add-Call {
    param([string] $Text)
    [void] $script:World.Calls.Add($Text)
    if ($script:World.Broken -ceq $Text) {
        throw ('broken: ' + $Text)
    }
}

function Get-SampleHash {
    param([string] $Name)
    Get-Hash -Bytes $script:World.Files['S:\' + $Name]
}

function Get-InstallRequest {
    $files = @(foreach ($name in @('forward.ps1', 'setup.ps1', 'wslmesh-relay.exe')) {
        '{"name":"' + $name + '","sha256":"' + (Get-SampleHash -Name $name) + '"}'
    })
    '{"version":1,"action":"install","policy":' + (Get-PolicySample) + ',"package":"0.1.0","files":[' + ($files -join ',') + ']}'
}

function Get-UninstallRequest {
    '{"version":1,"action":"uninstall","files":[{"name":"setup.ps1","sha256":"' + (Get-SampleHash -Name 'setup.ps1') + '"}]}'
}

# A request, and behind it its files as they are by now.
function Get-InputText {
    param([string] $Request)
    $text = $Request + "`n"
    foreach ($name in @('forward.ps1', 'setup.ps1', 'wslmesh-relay.exe')) {
        if ($Request.Contains('{"name":"' + $name + '"')) {
            $bytes = $script:World.Files['S:\' + $name]
            $text += [string] $bytes.Length + "`n" + [System.Text.Encoding]::ASCII.GetString($bytes)
        }
    }
    $text
}

# The machine as a setup for the sample policy leaves it.
function Set-InstalledWorld {
    $hashes = @{}
    foreach ($name in @('forward.ps1', 'wslmesh-relay.exe')) {
        $hashes[$name] = Get-SampleHash -Name $name
        $script:World.Files['P:\wslmesh\' + $name] = $script:World.Files['S:\' + $name]
    }
    $policy = ConvertTo-PolicyTable -Text (Get-PolicySample)
    $actions = Get-TaskActions -Sid $script:World.Sid -Places (Get-Places) -Policy $policy
    $script:World.Registry['SOFTWARE\wslmesh'] = @{ 'installed' = ConvertTo-AsciiJson -Answer (New-Installed -Package '0.1.0' -Hashes $hashes) }
    $script:World.Registry['SOFTWARE\wslmesh\' + $script:World.Sid] = @{ 'policy' = ConvertTo-AsciiJson -Answer $policy }
    $script:World.Folders['P:\wslmesh\' + $script:World.Sid] = $true
    $script:World.Files['P:\wslmesh\' + $script:World.Sid + '\inbox\selection.json'] = [byte[]] @()
    $script:World.Tasks = @{
        Forward = @{ Enabled = $true; Program = $actions.Forward.Program; Arguments = $actions.Forward.Arguments }
        Logon = @{ Enabled = $true; Program = $actions.Logon.Program; Arguments = $actions.Logon.Arguments }
        Try = $null
    }
    $policy = Get-InstalledPolicy -Sid $script:World.Sid
    [void] (Sync-Firewall -Policy $policy -Forwards @() -Owned @{} -Sid $script:World.Sid -Guest 'mirrored' -Write $true)
}

function Set-CleanWorld {
    $script:World.Registry = @{}
    $script:World.Folders = @{}
    $script:World.Tasks = @{ Forward = $null; Logon = $null; Try = $null }
    foreach ($name in @('forward.ps1', 'wslmesh-relay.exe', ($script:World.Sid + '\inbox\selection.json'))) {
        $script:World.Files.Remove('P:\wslmesh\' + $name)
    }
}

function Get-WinRegistryValues {
    param([string] $Path)
    if ($script:World.Registry.ContainsKey($Path)) { return $script:World.Registry[$Path].Clone() }
    if ($Path -ceq $ProxyPath) { return $script:World.Table.Clone() }
    if ($Path -clike '*\ledger') { return $script:World.Ledger.Clone() }
    if ($Path -clike 'SOFTWARE\Microsoft\*\Lxss') {
        return @{ 'NatNetwork' = $script:World.Network; 'NatGatewayIpAddress' = $script:World.Gateway }
    }
    @{}
}

function Get-WinRegistryKeys {
    param([string] $Path)
    foreach ($key in @($script:World.Registry.Keys)) {
        if ($key.StartsWith($Path + '\')) {
            $key.Substring($Path.Length + 1).Split('\')[0]
        }
    }
}

function Get-Places {
    @{ System = 'W:\System32'; Program = 'P:\wslmesh'; Windowless = $null; User = 'U:\wslmesh'; Staging = 'U:\wslmesh\staging' }
}

function Read-WinFile {
    param([string] $Path, [string] $Share)
    Assert-Equal -Expected 'Read' -Found $Share
    if (-not $script:World.Files.ContainsKey($Path)) {
        throw ('no file ' + $Path)
    }
    @{ Bytes = $script:World.Files[$Path] }
}

function Test-WinFile {
    param([string] $Path)
    $script:World.Files.ContainsKey($Path)
}

function Get-WinTime {
    $script:World.Time
}

function New-WinFolder {
    param([string] $Path)
    $script:World.Folders[$Path] = $true
}

function Set-WinFolder {
    param([string] $Path, [string] $Security)
    $script:World.Folders[$Path] = $Security
}

function Remove-WinFolder {
    param([string] $Path)
    if (@($script:World.Files.Keys | Where-Object { $_ -clike ($Path + '\*') }).Count -gt 0) { throw 'not empty' }
    $script:World.Folders.Remove($Path)
}

function Remove-ProgramFolder {
    param([string] $Path)
    $script:World.Folders.Remove($Path)
}

# A file that another call may have open.
function Open-WinFile {
    param([string] $Path, [System.IO.FileMode] $Mode, [System.IO.FileAccess] $Access, [System.IO.FileShare] $Share)
    if ($script:World.Asking) { throw (New-Object System.IO.IOException($Path, -2147024864)) }
    $script:World.Files[$Path] = [byte[]] @()
    New-Object System.IO.MemoryStream
}

function New-WinFile {
    param([string] $Path, [System.IO.FileMode] $Mode, [string] $Security)
    Open-WinFile -Path $Path -Mode $Mode -Access 'Write' -Share 'None'
}

function Remove-WinFile {
    param([string] $Path, [int] $Tries)
    $script:World.Files.Remove($Path)
}

# What the relay answers to its start: Windows' number, or none.
function Invoke-WinProgram {
    param([string] $Path, [string] $Arguments, [int] $Seconds)
    Assert-Equal -Expected ($Path + ' --version') -Found ((Get-RelayPath) + ' ' + $Arguments)
    @{ Code = 0; Error = $script:World.RelayError; Text = ''; Milliseconds = 30 }
}

function Get-WinPath {
    param([string] $Name)
    if ($Name -ceq $script:World.Unnamed) { return '' }
    $Name
}
