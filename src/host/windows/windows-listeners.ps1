# Ports that are listened on.

# Addresses that are listened on by TCP, by their port as text. Asked of the table in
# the kernel and not of WMI.
function Get-ListeningAddresses {
    $found = @{}
    $properties = [System.Net.NetworkInformation.IPGlobalProperties]::GetIPGlobalProperties()
    foreach ($endpoint in $properties.GetActiveTcpListeners()) {
        $port = [string] $endpoint.Port
        if (-not $found.ContainsKey($port)) {
            $found[$port] = New-Object System.Collections.ArrayList
        }
        [void] $found[$port].Add([string] $endpoint.Address)
    }
    $found
}
