# The profile of the double's own copy of PowerShell: makes a session look like one on Windows. Names of
# .NET types lead to the doubles; commands that Linux lacks, or that Windows PowerShell 5.1 has otherwise,
# are functions.

[void] [System.Reflection.Assembly]::LoadFrom("$PSScriptRoot/../WindowsDouble.dll")

# None of these names may be used before: PowerShell remembers where a name has led.
& {
    $accelerators = [psobject].Assembly.GetType('System.Management.Automation.TypeAccelerators')
    $doubles = @{
        'Environment' = [WindowsDouble.WinEnvironment]
        'System.Environment' = [WindowsDouble.WinEnvironment]
        'System.IO.File' = [WindowsDouble.WinFile]
        'System.IO.Directory' = [WindowsDouble.WinDirectory]
        'System.IO.Path' = [WindowsDouble.WinPath]
        'System.IO.FileStream' = [WindowsDouble.WinFileStream]
        'System.Diagnostics.Process' = [WindowsDouble.WinProcess]
        'System.Net.NetworkInformation.IPGlobalProperties' = [WindowsDouble.WinIPGlobalProperties]
        'System.Net.NetworkInformation.NetworkInterface' = [WindowsDouble.WinNetworkInterface]
        'System.Security.AccessControl.FileSecurity' = [WindowsDouble.WinFileSecurity]
        'System.Security.AccessControl.DirectorySecurity' = [WindowsDouble.WinDirectorySecurity]
        'System.Security.AccessControl.RegistrySecurity' = [WindowsDouble.WinRegistrySecurity]
        'System.Security.Principal.NTAccount' = [WindowsDouble.WinAccount]
        'System.Security.Principal.SecurityIdentifier' = [WindowsDouble.WinSid]
        'System.Security.Principal.WindowsIdentity' = [WindowsDouble.WinIdentity]
        'System.Security.Principal.WindowsPrincipal' = [WindowsDouble.WinPrincipal]
        'System.Threading.Mutex' = [WindowsDouble.WinMutex]
        'Microsoft.Win32.RegistryKey' = [WindowsDouble.WinRegistryKey]
    }
    foreach ($name in $doubles.Keys) {
        $accelerators::Add($name, $doubles[$name])
    }
}

# Programs are started by paths such as C:\Windows\System32\netsh.exe.
$root = [WindowsDouble.World]::Root + '/c'
$null = New-PSDrive -Name 'C' -PSProvider 'FileSystem' -Root $root -Scope 'Global'
Remove-Variable -Name 'root'

# In a list of one, because some objects of COM are lists themselves.
function global:New-Object {
    [CmdletBinding()]
    param(
        [Parameter(Position = 0)] [string] $TypeName,
        [Parameter(Position = 1)] [object[]] $ArgumentList,
        [string] $ComObject,
        [System.Collections.IDictionary] $Property,
        [switch] $Strict
    )
    if ($ComObject) {
        return , [WindowsDouble.Com]::Make($ComObject)
    }
    [void] $PSBoundParameters.Remove('Strict')
    Microsoft.PowerShell.Utility\New-Object @PSBoundParameters
}

function global:Get-Service {
    [CmdletBinding()]
    param([string] $Name)
    [pscustomobject] @{ Name = $Name; Status = [WindowsDouble.World]::Conf("service-$Name", 'Running') }
}

# The switch script-policy is that of a group policy for the machine.
function global:Get-ExecutionPolicy {
    [CmdletBinding()]
    param([string] $Scope, [switch] $List)
    $policies = [ordered] @{
        MachinePolicy = [WindowsDouble.World]::Conf('script-policy', 'Undefined')
        UserPolicy = 'Undefined'; Process = 'Bypass'; CurrentUser = 'Undefined'; LocalMachine = 'Undefined'
    }
    if ($List) {
        return $policies.Keys | ForEach-Object { [pscustomobject] @{ Scope = $_; ExecutionPolicy = $policies[$_] } }
    }
    if ($Scope) { return $policies[$Scope] }
    $policies.Values | Where-Object { $_ -ne 'Undefined' } | Select-Object -First 1
}

# Windows PowerShell 5.1 reads an integer of JSON as [int] where it fits and leaves dates as text;
# PowerShell 7 makes every integer a [long].
function global:ConvertFrom-Json {
    [CmdletBinding()]
    param(
        [Parameter(Mandatory, ValueFromPipeline, Position = 0)] [AllowEmptyString()] [string] $InputObject
    )
    process {
        $options = @{ InputObject = $InputObject; NoEnumerate = $true }
        if ($PSVersionTable.PSVersion -ge [version] '7.5') {
            $options['DateKind'] = 'String'
        }
        , (ConvertTo-ShortInteger -Value (Microsoft.PowerShell.Utility\ConvertFrom-Json @options))
    }
}

function global:ConvertTo-ShortInteger {
    param($Value)
    if (($Value -is [long]) -and ($Value -ge [int]::MinValue) -and ($Value -le [int]::MaxValue)) {
        return [int] $Value
    }
    if ($Value -is [object[]]) {
        for ($index = 0; $index -lt $Value.Length; $index += 1) {
            $Value[$index] = ConvertTo-ShortInteger -Value $Value[$index]
        }
    }
    if ($Value -is [System.Management.Automation.PSCustomObject]) {
        foreach ($property in $Value.PSObject.Properties) {
            $property.Value = ConvertTo-ShortInteger -Value $property.Value
        }
    }
    , $Value
}

# Last, because nothing above is allowed under a policy that constrains scripts.
& {
    $mode = $env:WINDOWS_DOUBLE_LANGUAGE
    if (-not $mode) {
        $mode = [WindowsDouble.World]::Conf('language', 'FullLanguage')
    }
    if ($mode -ne 'FullLanguage') {
        $ExecutionContext.SessionState.LanguageMode = $mode
    }
}
