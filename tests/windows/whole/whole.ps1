# What every suite has: a world, calls of the scripts in it, and what the world then holds.
# PowerShell 7 on Linux alone; $Double, $Stage and $Folder are the runner's.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

$User = 'S-1-5-21-1111111111-2222222222-3333333333-1001'
$OtherUser = 'S-1-5-21-1111111111-2222222222-3333333333-1002'
$Elevated = "sid=$User;elevated=1;admin=1;session=1"
$System = 'sid=S-1-5-18;elevated=1;admin=1;session=0'
$ProxyKey = 'SYSTEM/CurrentControlSet/Services/PortProxy/v4tov4/tcp'
# What belongs to others, and must be the same at the end.
$ForeignProxy = '0.0.0.0/7777'
$Worlds = 0

# Each case makes worlds of its own.
function Reset-World {
    param()
}

# A fresh Windows with rules of other programs in it.
function New-World {
    $script:Worlds += 1
    $script:World = "$Folder/world-$Worlds"
    & "$Double/new-world" $World
    Edit-Store -Name 'registry' -Edit {
        param($root)
        $key = Find-Key -Root $root -Path $ProxyKey
        $key.Values[$ForeignProxy] = @{ Kind = 'String'; Text = '10.0.0.9/77' }
    }
    Edit-Store -Name 'firewall' -Edit {
        param($rules)
        $rules[0].Name = 'wslmesh lookalike'
        $rules[1].Name = "wslmesh-$User-tcp-1-portproxy"
        # Some programs give theirs no name.
        $rules[2].Name = $null
    }
}

# Another world with the state of this one: what was prepared once serves many cases.
function Copy-World {
    param([string] $From)
    $script:Worlds += 1
    $script:World = "$Folder/world-$Worlds"
    & cp -a $From $World
}

function Remove-World {
    [System.IO.Directory]::Delete($World, $true)
}

function Set-Switch {
    param([string] $Name, [string] $Text)
    [System.IO.File]::WriteAllText("$World/conf/$Name", $Text)
}

function Clear-Switch {
    param([string] $Name)
    [System.IO.File]::Delete("$World/conf/$Name")
}

function Test-Switch {
    param([string] $Name)
    [System.IO.File]::Exists("$World/conf/$Name")
}

function Read-Store {
    param([string] $Name)
    $path = "$World/$Name.json"
    if (-not [System.IO.File]::Exists($path)) { return $null }
    , ([System.IO.File]::ReadAllText($path) | ConvertFrom-Json -AsHashtable -NoEnumerate)
}

function Edit-Store {
    param([string] $Name, [scriptblock] $Edit)
    $value = Read-Store -Name $Name
    & $Edit $value
    [System.IO.File]::WriteAllText("$World/$Name.json", (ConvertTo-Json -InputObject $value -Depth 30))
}

# A key below HKLM, or $null.
function Find-Key {
    param($Root, [string] $Path)
    $node = $Root.Keys['HKLM']
    foreach ($part in $Path.Split('/')) {
        if (($null -eq $node) -or (-not $node['Keys'].ContainsKey($part))) { return $null }
        $node = $node['Keys'][$part]
    }
    $node
}

# Values of a key as name to text.
function Get-KeyValues {
    param([string] $Path)
    $key = Find-Key -Root (Read-Store -Name 'registry') -Path $Path
    $values = @{}
    if ($null -ne $key) {
        foreach ($name in $key['Values'].Keys) { $values[$name] = $key['Values'][$name].Text }
    }
    $values
}

function Test-Key {
    $null -ne (Find-Key -Root (Read-Store -Name 'registry') -Path 'SOFTWARE/wslmesh')
}

# The port proxy's rules that are not another program's, as one text.
function Get-ProxyText {
    $rules = Get-KeyValues -Path $ProxyKey
    @($rules.Keys | Where-Object { $_ -ne $ForeignProxy } | Sort-Object | ForEach-Object { '{0}={1}' -f $_, $rules[$_] }) -join ' '
}

function Get-OwnRules {
    @(Read-Store -Name 'firewall' | ForEach-Object { $_ } | Where-Object { $_.Grouping -eq 'wslmesh' })
}

function Get-Tasks {
    $table = Read-Store -Name 'tasks'
    if ($null -eq $table) { return @() }
    @($table['Tasks'])
}

# Files and folders of ours on the drive, and what was left in folders for temporary files.
function Get-OwnFiles {
    @(& find "$World/c" -ipath '*wslmesh*' -o -path '*/Temp/?*' | Sort-Object)
}

# Text about all that belongs to others.
function Get-ForeignText {
    $lines = foreach ($rule in Read-Store -Name 'firewall' | ForEach-Object { $_ } | Where-Object { $_.Grouping -ne 'wslmesh' }) {
        @($rule.Keys | Sort-Object | ForEach-Object { '{0}={1}' -f $_, $rule[$_] }) -join ' '
    }
    (Get-KeyValues -Path $ProxyKey)[$ForeignProxy] + "`n" + ($lines -join "`n")
}

# No rule without its line in the ledger, no line without its rule, nothing of others lost.
function Assert-Whole {
    param([string] $Foreign)
    $ledger = Get-KeyValues -Path "SOFTWARE/wslmesh/$User/ledger"
    $claimed = @($ledger.Keys | Where-Object { $_ -like 'tcp/*' } | Sort-Object | ForEach-Object { '{0}={1}' -f $_.Substring(4), $ledger[$_] }) -join ' '
    Assert-Equal -Expected (Get-ProxyText) -Found $claimed
    Assert-Equal -Expected '' -Found (@($ledger.Keys | Where-Object { $_ -like 'pending/*' }) -join ' ')
    # Those of the machine are in no user's ledger.
    $rules = @(Get-OwnRules | ForEach-Object { $_.Name } | Where-Object { $_ -notlike 'wslmesh-machine-*' } | Sort-Object) -join ' '
    $claimed = @($ledger.Keys | Where-Object { $_ -like 'firewall/*' } | ForEach-Object { $_.Substring(9) } | Sort-Object) -join ' '
    Assert-Equal -Expected $rules -Found $claimed
    Assert-True -Found ($Foreign -ceq (Get-ForeignText)) -What 'what belongs to others is as it was'
    Assert-Equal -Expected '' -Found (@(& find "$World/c/Windows/Temp" -name 'wslmesh*') -join ' ')
}

# Nothing of ours is left.
function Assert-Clean {
    param([string] $Foreign)
    Assert-Equal -Expected '' -Found (Get-ProxyText)
    Assert-Equal -Expected 0 -Found @(Get-OwnRules).Count
    Assert-Equal -Expected 0 -Found @(Get-Tasks).Count
    Assert-Equal -Expected $false -Found (Test-Key)
    Assert-Equal -Expected '' -Found ((Get-OwnFiles) -join ' ')
    Assert-True -Found ($Foreign -ceq (Get-ForeignText)) -What 'what belongs to others is as it was'
}

# ---- Calls -------------------------------------------------------------------------------------------

# PowerShell of this world, started with bytes on its standard input.
function Start-PowerShell {
    param([string[]] $Arguments, [byte[]] $Bytes, [string] $Token, [string] $Language)
    $start = [System.Diagnostics.ProcessStartInfo]::new("$World/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe")
    foreach ($argument in $Arguments) { $start.ArgumentList.Add($argument) }
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.Environment['WINDOWS_DOUBLE_ROOT'] = $World
    [void] $start.Environment.Remove('WINDOWS_DOUBLE_TOKEN')
    [void] $start.Environment.Remove('WINDOWS_DOUBLE_STARTED')
    if ($Token) { $start.Environment['WINDOWS_DOUBLE_TOKEN'] = $Token }
    if ($Language) { $start.Environment['WINDOWS_DOUBLE_LANGUAGE'] = $Language }
    $process = [System.Diagnostics.Process]::Start($start)
    $run = @{ Process = $process; Output = $process.StandardOutput.ReadToEndAsync(); Errors = $process.StandardError.ReadToEndAsync() }
    try {
        $process.StandardInput.BaseStream.Write($Bytes, 0, $Bytes.Length)
        $process.StandardInput.Close()
    } catch [System.IO.IOException] {
        # It ended without reading all of it.
        $null = $_
    }
    $run
}

function Wait-PowerShell {
    param([hashtable] $Run)
    if (-not $Run.Process.WaitForExit(180000)) {
        $Run.Process.Kill($true)
        throw 'still running after 180 s'
    }
    @{ Code = $Run.Process.ExitCode; Text = $Run.Output.Result; Errors = $Run.Errors.Result }
}

# The request, and the staged files that it names.
function Get-InputBytes {
    param([string] $Request)
    $bytes = [System.IO.MemoryStream]::new()
    $bytes.Write([System.Text.Encoding]::UTF8.GetBytes($Request + "`n"))
    foreach ($file in [regex]::Matches($Request, '"name":"([a-z0-9.-]+)","sha256"|"sha256":"[0-9a-f]+","name":"([a-z0-9.-]+)"')) {
        $content = [System.IO.File]::ReadAllBytes("$Stage/" + $file.Groups[1].Value + $file.Groups[2].Value)
        $bytes.Write([System.Text.Encoding]::ASCII.GetBytes("$($content.Length)`n"))
        $bytes.Write($content)
    }
    @{ Bytes = $bytes.ToArray() }
}

# A staged script, as the agent starts one: on standard input before its request, or as a file.
function Start-Script {
    param([string] $Name, [string] $Request, [string] $Token, [string] $Language, [switch] $AsFile)
    $arguments = @('-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass')
    $bytes = (Get-InputBytes -Request $Request).Bytes
    if ($AsFile) {
        $arguments += @('-File', ('\\wsl.localhost\Debian' + "$Stage/$Name".Replace('/', '\')))
    } else {
        $script = [System.IO.File]::ReadAllBytes("$Stage/$Name")
        $arguments += @('-Command', ('$size = {0}; {1}' -f $script.Length, [System.IO.File]::ReadAllText("$Stage/command.txt")))
        $bytes = [byte[]] ($script + $bytes)
    }
    Start-PowerShell -Arguments $arguments -Bytes $bytes -Token $Token -Language $Language
}

function Wait-Script {
    param([hashtable] $Run)
    $ended = Wait-PowerShell -Run $Run
    $script:LastAnswer = $ended.Text
    if ($ended.Text.TrimStart() -notlike '{*') { throw ('no answer, code {0}: {1}{2}' -f $ended.Code, $ended.Text, $ended.Errors) }
    ConvertFrom-Json -InputObject $ended.Text -AsHashtable
}

function Invoke-Script {
    param([string] $Name, [string] $Request, [string] $Token, [string] $Language, [switch] $AsFile)
    Wait-Script -Run (Start-Script -Name $Name -Request $Request -Token $Token -Language $Language -AsFile:$AsFile)
}

# What the task runs, at once and as SYSTEM, for a selection that is already written.
function Invoke-ForwardTask {
    param()
    $run = Start-PowerShell -Arguments @('-NoProfile', '-NonInteractive', '-ExecutionPolicy', 'Bypass', '-File', 'C:\Program Files\wslmesh\forward.ps1', '-Sid', $User) -Bytes @() -Token $System -Language ''
    $ended = Wait-PowerShell -Run $run
    if ($ended.Text -notlike '{*') { return $null }
    ConvertFrom-Json -InputObject $ended.Text -AsHashtable
}

function Write-Selection {
    param([string] $Entries, [int] $Ticket = 7)
    [System.IO.File]::WriteAllText("$World/c/Program Files/wslmesh/$User/inbox/selection.json", '{"version":1,"ticket":' + $Ticket + ',"mode":1,"forwards":[' + $Entries + ']}')
}

# ---- Requests ----------------------------------------------------------------------------------------

function New-Forward {
    param([string] $Protocol, [int] $Port, [int] $Connect, [string] $ServedBy, [string] $Address = '0.0.0.0', [string] $Firewall = 'local')
    @{ 'protocol' = $Protocol; 'listen-address' = $Address; 'listen-port' = $Port; 'connect-port' = $Connect; 'served-by' = $ServedBy; 'firewall' = $Firewall }
}

$Ssh = New-Forward -Protocol 'tcp' -Port 2222 -Connect 22 -ServedBy 'portproxy'
$Web = New-Forward -Protocol 'tcp' -Port 8080 -Connect 80 -ServedBy 'portproxy' -Address '192.168.50.10' -Firewall 'none'
$WireGuard = New-Forward -Protocol 'udp' -Port 51820 -Connect 51820 -ServedBy 'relay'
$Outside = New-Forward -Protocol 'tcp' -Port 9999 -Connect 99 -ServedBy 'portproxy'
$SshRule = '0.0.0.0/2222=172.28.16.5/22'
$WebRule = '192.168.50.10/8080=172.28.16.5/80'

function New-SyncRequest {
    param([object[]] $Forwards = @())
    ConvertTo-Json -Compress -Depth 5 -InputObject ([ordered] @{ 'version' = 1; 'action' = 'sync'; 'mode' = 'nat'; 'connect-address' = '172.28.16.5'; 'forwards' = @($Forwards) })
}

function New-Files {
    param([string[]] $Names)
    @(foreach ($name in $Names) { @{ 'name' = $name; 'sha256' = (Get-FileHash -Path "$Stage/$name").Hash.ToLowerInvariant() } })
}

$Policy = [ordered] @{
    'version' = 2; 'package' = '0.0.1'; 'distribution' = 'Debian'; 'logon' = $true; 'mode' = 'nat'; 'profiles' = @('domain', 'private')
    'grants' = @(
        [ordered] @{ 'protocol' = 'tcp'; 'listen-address' = '0.0.0.0'; 'listen-ports' = @(2200, 2299); 'connect-ports' = @(22, 29); 'firewall' = 'local'; 'backend' = 'portproxy' }
        [ordered] @{ 'protocol' = 'tcp'; 'listen-address' = '192.168.50.10'; 'listen-ports' = @(8000, 8100); 'connect-ports' = @(1, 65535); 'firewall' = 'none'; 'backend' = 'portproxy' }
        [ordered] @{ 'protocol' = 'udp'; 'listen-address' = '0.0.0.0'; 'listen-ports' = @(51820, 51820); 'connect-ports' = @(51820, 51820); 'firewall' = 'local'; 'backend' = 'auto' }
    )
}

function New-InstallRequest {
    param([switch] $Agreed)
    $request = [ordered] @{ 'version' = 1; 'action' = 'install'; 'policy' = $Policy; 'package' = '0.0.1'; 'files' = @(New-Files -Names @('forward.ps1', 'setup.ps1', 'wslmesh-relay.exe')) }
    if ($Agreed) { $request['agreed'] = $true }
    ConvertTo-Json -Compress -Depth 8 -InputObject $request
}

function New-UninstallRequest {
    param([switch] $Agreed)
    $request = [ordered] @{ 'version' = 1; 'action' = 'uninstall'; 'files' = @(New-Files -Names @('setup.ps1')) }
    if ($Agreed) { $request['agreed'] = $true }
    ConvertTo-Json -Compress -Depth 5 -InputObject $request
}

# Installed, without a question: by a caller that has the rights already.
function Install-Whole {
    $answer = Invoke-Script -Name 'host.ps1' -Request (New-InstallRequest -Agreed) -Token $Elevated
    Assert-Equal -Expected 'installed' -Found $answer['state']
}
