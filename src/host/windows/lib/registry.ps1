# The registry, in the 64-bit view: the only one that the port proxy's service and netsh
# use. The cmdlets for the registry would take '*' in a name for a wildcard.

$ProxyPath = 'SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp'

# Keys of ours: administrators and the system write, users read, and nothing comes from the key above.
$KeySecurity = 'O:BAD:P(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CI;KR;;;BU)'

function Open-WinHive {
    param([string] $Name)
    [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive] $Name, [Microsoft.Win32.RegistryView]::Registry64)
}

function Read-WinValue {
    param($Key, [string] $Name)
    [string] $Key.GetValue($Name, '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
}

# What a block makes of a key; nothing where there is no such key.
function Read-WinKey {
    param([string] $Hive, [string] $Path, [scriptblock] $Body)
    $key = (Open-WinHive -Name $Hive).OpenSubKey($Path)
    if ($null -eq $key) { return }
    try {
        & $Body $key
    } finally {
        $key.Dispose()
    }
}

# All values of a key of the machine as text; a key that does not exist has none.
function Get-WinRegistryValues {
    param([string] $Path)
    $values = @{}
    Read-WinKey -Hive 'LocalMachine' -Path $Path -Body {
        param($Key)
        foreach ($name in $Key.GetValueNames()) { $values[$name] = Read-WinValue -Key $Key -Name $name }
    }
    $values
}

function Get-WinRegistryKeys {
    param([string] $Path)
    Read-WinKey -Hive 'LocalMachine' -Path $Path -Body { param($Key) $Key.GetSubKeyNames() }
}

# One value of a user's hive, which is loaded while the user is logged on. Only this
# value is read: the user could have put any number of others beside it.
function Get-WinUserValue {
    param([string] $Sid, [string] $Path, [string] $Name)
    [string] (Read-WinKey -Hive 'Users' -Path ($Sid + '\' + $Path) -Body { param($Key) Read-WinValue -Key $Key -Name $Name })
}

# Writes values of the machine in their order, then removes others. A key is made for
# what is written, and for nothing else.
function Set-WinRegistryValues {
    param([string] $Path, [System.Collections.IDictionary] $Values, [string[]] $Removed)
    $machine = Open-WinHive -Name 'LocalMachine'
    if ($Values.Count -gt 0) {
        $key = $machine.CreateSubKey($Path)
    } else {
        $key = $machine.OpenSubKey($Path, $true)
    }
    if ($null -eq $key) { return }
    try {
        foreach ($name in $Values.Keys) {
            $key.SetValue($name, [string] $Values[$name], [Microsoft.Win32.RegistryValueKind]::String)
        }
        foreach ($name in $Removed) { $key.DeleteValue($name, $false) }
        # Ledger and rules lie in different hives: without this a power cut could keep
        # the rule and lose the line that says whose it is.
        $key.Flush()
    } finally {
        $key.Dispose()
    }
}

# A key with exactly these rights, whoever made it.
function Set-WinRegistryKey {
    param([string] $Path, [string] $Security)
    $rights = New-Object System.Security.AccessControl.RegistrySecurity
    $rights.SetSecurityDescriptorSddlForm($Security, [System.Security.AccessControl.AccessControlSections] 'Owner, Access')
    $machine = Open-WinHive -Name 'LocalMachine'
    $machine.CreateSubKey($Path).Dispose()
    $key = $machine.OpenSubKey($Path, [Microsoft.Win32.RegistryKeyPermissionCheck]::ReadWriteSubTree, [System.Security.AccessControl.RegistryRights]::FullControl)
    try {
        $key.SetAccessControl($rights)
    } finally {
        $key.Dispose()
    }
}

# Whole: with all that it holds. Otherwise a key with something in it stays: it is not ours alone.
function Remove-WinRegistryKey {
    param([string] $Path, [bool] $Whole)
    $machine = Open-WinHive -Name 'LocalMachine'
    if ($Whole) {
        $machine.DeleteSubKeyTree($Path, $false)
    } elseif ((Read-WinKey -Hive 'LocalMachine' -Path $Path -Body { param($Key) $Key.SubKeyCount + $Key.ValueCount }) -eq 0) {
        $machine.DeleteSubKey($Path, $false)
    }
}
