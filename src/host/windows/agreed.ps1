# The request against the policy, before anything is asked of the elevated side.
# That side checks again: here the check is for an answer that says what is wrong.

function Find-RefusalReason {
    param([hashtable] $Policy, [hashtable] $Forward)
    $grant = Find-Grant -Policy $Policy -Protocol $Forward.Protocol -ListenPort $Forward.ListenPort -ConnectPort $Forward.ConnectPort
    if ($null -eq $grant) {
        return 'outside-policy'
    }
    if ($grant.Address -cne $Forward.Address) {
        return 'listen-address'
    }
    if ($grant.Firewall -cne $Forward.Firewall) {
        return 'firewall'
    }
    ''
}

function Select-Agreed {
    param([hashtable] $Policy, [object[]] $Forwards)
    $agreed = New-Object System.Collections.ArrayList
    $refused = New-Object System.Collections.ArrayList
    foreach ($forward in $Forwards) {
        $reason = Find-RefusalReason -Policy $Policy -Forward $forward
        if ($reason -ceq '') {
            [void] $agreed.Add($forward)
        } else {
            [void] $refused.Add((New-Refused -Protocol $forward.Protocol -ListenPort $forward.ListenPort -ConnectPort $forward.ConnectPort -Reason $reason))
        }
    }
    @{ Forwards = $agreed.ToArray(); Refused = $refused.ToArray() }
}

# The selection: integers alone, in exactly the form that forward.ps1 takes.
function ConvertTo-SelectionText {
    param([int] $Ticket, [string] $Mode, [object[]] $Forwards)
    $protocols = @{ 'tcp' = 6; 'udp' = 17 }
    $servers = @{ 'portproxy' = 1; 'relay' = 2; 'guest' = 3 }
    $modes = @{ 'nat' = 1; 'mirrored' = 2 }
    $entries = @(foreach ($forward in $Forwards) {
        '[{0},{1},{2},{3}]' -f $protocols[$forward.Protocol], $forward.ListenPort, $forward.ConnectPort, $servers[$forward.ServedBy]
    })
    '{"version":1,"ticket":' + $Ticket + ',"mode":' + $modes[$Mode] + ',"forwards":[' + ($entries -join ',') + ']}'
}

# What HKLM says is installed, as the answer has it. Fields that another version may
# have are passed over: that it is another one is told by its contract.
function ConvertTo-Installed {
    param([string] $Text, $Relay)
    try {
        $installed = ConvertFrom-Json -InputObject $Text
        $version = ConvertTo-Text -Value $installed.'version' -Place 'installed.version'
        if (-not (Test-Integer -Value $installed.'contract' -First 1 -Last 2147483647)) {
            throw 'installed.contract: must be an integer'
        }
    } catch {
        throw ('the installation on Windows cannot be read ({0}); run "wslmesh host install" again' -f $_.Exception.Message)
    }
    [ordered] @{
        'version' = $version
        'contract' = $installed.'contract'
        'relay' = $Relay
    }
}
