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

# What the port proxy must hold for these forwards: listener to target, in their
# order. A listener and a target are both written 'address/port', as the registry
# has them. Others than the port proxy's forwards have nothing to stand there.
function Get-Wanted {
    param([object[]] $Forwards, $Guest)
    $wanted = [ordered] @{}
    foreach ($forward in $Forwards) {
        if ($forward.ServedBy -ceq 'portproxy') {
            $wanted[$forward.Listener] = '{0}/{1}' -f $Guest, $forward.ConnectPort
        }
    }
    $wanted
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
