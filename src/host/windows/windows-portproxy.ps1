# The port proxy and the registry.

function Test-ProxyService {
    # The name of the enumeration's member is never localised.
    $service = Get-Service -Name 'iphlpsvc'
    ([string] $service.Status) -ceq 'Running'
}

function Get-PortProxyValues {
    Get-RegistryValues -Path 'SYSTEM\CurrentControlSet\Services\PortProxy\v4tov4\tcp'
}
