# What the port proxy has to hold.

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
