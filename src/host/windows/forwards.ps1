# A forward as all decisions have it.

function New-Forward {
    param([string] $Protocol, [string] $Address, [int] $ListenPort, [int] $ConnectPort, [string] $ServedBy, [string] $Firewall)
    @{
        Protocol = $Protocol
        Address = $Address
        ListenPort = $ListenPort
        ConnectPort = $ConnectPort
        ServedBy = $ServedBy
        Firewall = $Firewall
        Listener = '{0}/{1}' -f $Address, $ListenPort
    }
}

# Who serves a forward depends on the mode: the port proxy and the relay lead to a
# guest behind NAT, and would take the port from a guest that shares it with Windows.
# The port proxy knows TCP alone.
function Test-ServedBy {
    param([string] $Mode, [string] $Protocol, [string] $ServedBy)
    if ($Mode -ceq 'mirrored') {
        return $ServedBy -ceq 'guest'
    }
    ($ServedBy -ceq 'relay') -or (($ServedBy -ceq 'portproxy') -and ($Protocol -ceq 'tcp'))
}
