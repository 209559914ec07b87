# What WSL has on record about its network behind NAT.

# One value of a user's hive, which is there while the user is logged on. Only this
# value is read: the user could have put any number of others beside it.
function Get-UserGuestAddress {
    param([string] $Sid)
    $users = [Microsoft.Win32.RegistryKey]::OpenBaseKey([Microsoft.Win32.RegistryHive]::Users, [Microsoft.Win32.RegistryView]::Registry64)
    try {
        $key = $users.OpenSubKey($Sid + '\Software\Microsoft\Windows\CurrentVersion\Lxss')
        if ($null -eq $key) {
            return ''
        }
        try {
            [string] $key.GetValue('NatIpAddress', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
        } finally {
            $key.Dispose()
        }
    } finally {
        $users.Dispose()
    }
}

# Network and gateway, as WSL's service wrote them.
function Get-GuestNetwork {
    $network = @{ 'NatNetwork' = ''; 'NatGatewayIpAddress' = '' }
    $values = Get-RegistryValues -Path 'SOFTWARE\Microsoft\Windows\CurrentVersion\Lxss'
    foreach ($name in @('NatNetwork', 'NatGatewayIpAddress')) {
        if ($values.ContainsKey($name)) {
            $network[$name] = $values[$name]
        }
    }
    $network
}
