# A policy in words, for the person who is asked to agree to it.

function ConvertTo-RangeWords {
    param([object[]] $Range)
    if ($Range[0] -eq $Range[1]) {
        return 'port {0}' -f $Range[0]
    }
    'any of the ports {0} to {1}' -f $Range[0], $Range[1]
}

function ConvertTo-FirewallWords {
    param([string] $Firewall, [string[]] $Profiles)
    $where = $Profiles -join ', '
    if ($Firewall -ceq 'none') {
        return 'no rule in the firewall: what it does today decides'
    }
    if ($Firewall -ceq 'local') {
        return 'the firewall lets the local subnet in (in networks of the kind: {0})' -f $where
    }
    'the firewall lets everyone in who can reach this machine (in networks of the kind: {0})' -f $where
}

function Get-PolicyWords {
    param([System.Collections.IDictionary] $Policy)
    if ($Policy['grants'].Count -eq 0) {
        '- No port is forwarded.'
    }
    foreach ($grant in $Policy['grants']) {
        $listen = 'all addresses of Windows'
        if ($grant['listen-address'] -cne '0.0.0.0') {
            $listen = 'the address {0} of Windows' -f $grant['listen-address']
        }
        '- {0}: {1} on {2} may lead to {3} of the distribution "{4}"' -f $grant['protocol'].ToUpperInvariant(), (ConvertTo-RangeWords -Range $grant['listen-ports']), $listen, (ConvertTo-RangeWords -Range $grant['connect-ports']), $Policy['distribution']
        '    ' + (ConvertTo-FirewallWords -Firewall $grant['firewall'] -Profiles $Policy['profiles'])
    }
    if ($Policy['logon']) {
        '- The distribution "{0}" is started, without administrator rights, when this user logs on, and kept running.' -f $Policy['distribution']
    }
    if ($Policy['profiles'] -ccontains 'public') {
        '- Networks that Windows calls public are among them.'
    }
}
