# The agent's request.

function ConvertTo-RequestedForward {
    param($Forward, [string] $Mode, [string] $Place)
    Assert-Fields -Object $Forward -Place $Place -Names @('protocol', 'listen-address', 'listen-port', 'connect-port', 'served-by', 'firewall')
    $protocol = ConvertTo-Choice -Value $Forward.'protocol' -Choices @('tcp', 'udp') -Place ($Place + '.protocol')
    $address = ConvertTo-Address -Value $Forward.'listen-address' -Place ($Place + '.listen-address')
    $listenPort = ConvertTo-Port -Value $Forward.'listen-port' -Place ($Place + '.listen-port')
    $connectPort = ConvertTo-Port -Value $Forward.'connect-port' -Place ($Place + '.connect-port')
    $servedBy = ConvertTo-Choice -Value $Forward.'served-by' -Choices @('portproxy', 'relay', 'guest') -Place ($Place + '.served-by')
    $firewall = ConvertTo-Choice -Value $Forward.'firewall' -Choices @('none', 'local', 'full') -Place ($Place + '.firewall')
    if (-not (Test-ServedBy -Mode $Mode -Protocol $protocol -ServedBy $servedBy)) {
        throw (New-InvalidRequest -Message ('{0}.served-by: {1} cannot serve {2} in mode {3}' -f $Place, $servedBy, $protocol, $Mode))
    }
    New-Forward -Protocol $protocol -Address $address -ListenPort $listenPort -ConnectPort $connectPort -ServedBy $servedBy -Firewall $firewall
}

# Request text -> mode, address of the guest, and forwards in the order of the request.
function ConvertTo-Request {
    param([string] $Text)
    try {
        $request = ConvertFrom-Json -InputObject $Text
    } catch {
        throw (New-InvalidRequest -Message ('request: not JSON: ' + $_.Exception.Message))
    }
    Assert-Fields -Object $request -Place 'request' -Names @('version', 'action', 'mode', 'connect-address', 'forwards')
    if (-not (Test-Integer -Value $request.'version' -First 1 -Last 1)) {
        throw (New-InvalidRequest -Message 'version: this script speaks version 1 only')
    }
    [void] (ConvertTo-Choice -Value $request.'action' -Choices @('sync') -Place 'action')
    $mode = ConvertTo-Choice -Value $request.'mode' -Choices @('nat', 'mirrored') -Place 'mode'
    $guest = ConvertTo-GuestAddress -Value $request.'connect-address' -Place 'connect-address'
    if ($request.'forwards' -isnot [System.Collections.IList]) {
        throw (New-InvalidRequest -Message 'forwards: must be a list')
    }
    if ($request.'forwards'.Count -gt 2000) {
        throw (New-InvalidRequest -Message 'forwards: more than 2000')
    }
    $seen = @{}
    $index = 0
    $forwards = New-Object System.Collections.ArrayList
    foreach ($item in $request.'forwards') {
        $place = 'forwards[{0}]' -f $index
        $forward = ConvertTo-RequestedForward -Forward $item -Mode $mode -Place $place
        $key = $forward.Protocol + '/' + $forward.Listener
        if ($seen.ContainsKey($key)) {
            throw (New-InvalidRequest -Message ('{0}: {1} is asked for twice' -f $place, $key))
        }
        $seen[$key] = $true
        [void] $forwards.Add($forward)
        $index += 1
    }
    @{ Mode = $mode; Guest = $guest; Forwards = $forwards.ToArray() }
}
