# Ports that somebody else has.

# What a bind and the listeners that there are say: '' for free. WSL's own relay, like
# others, holds single ports of loopback, which keeps nobody from listening on all
# addresses. An address that Windows does not have (yet) is no taken port either.
#
# A bind that succeeds is no proof: Windows lets one socket have all addresses and
# another a single one, and connections to that one then go by. Listeners by IPv6 do not
# count there: one that took IPv4 too would have made the bind fail.
function Get-TakenKind {
    param([int] $ErrorCode, [string] $Address, [object[]] $Holders)
    if ($ErrorCode -eq 0) {
        if (@($Holders | Where-Object { ($_ -cnotlike '*:*') -and (Test-Meets -Address $Address -Holder $_) }).Count -gt 0) {
            return 'in-use'
        }
        return ''
    }
    if (($ErrorCode -ne 10013) -and ($ErrorCode -ne 10048)) {
        return ''
    }
    $met = @($Holders | Where-Object { Test-Meets -Address $Address -Holder $_ })
    if ($met.Count -gt 0) {
        return 'in-use'
    }
    if ($ErrorCode -eq 10013) {
        return 'forbidden'
    }
    if (($Address -ceq '0.0.0.0') -and (@($Holders).Count -gt 0)) {
        return ''
    }
    'in-use'
}

# Whether who listens on Holder keeps us from Address.
function Test-Meets {
    param([string] $Address, [string] $Holder)
    if (($Holder -ceq '0.0.0.0') -or ($Holder -ceq '::') -or ($Holder -ceq $Address)) {
        return $true
    }
    ($Address -ceq '0.0.0.0') -and ($Holder -cnotlike '127.*') -and ($Holder -cne '::1')
}

# Listeners of a plan that cannot be had, with what the answer says of them. A port
# that a rule of ours has already, for another address, would be found to be taken.
function Find-Taken {
    param([hashtable] $Plan)
    $ours = @{}
    foreach ($listener in $Plan.Owned.Keys) {
        $ours[$listener.Split('/')[1]] = $true
    }
    $holders = $null
    foreach ($listener in $Plan.Added) {
        $listen = $listener.Split('/')
        if ($ours.ContainsKey($listen[1])) {
            continue
        }
        $code = Get-BindError -Address $listen[0] -Port ([int] $listen[1])
        if ($null -eq $holders) {
            $holders = Get-ListeningAddresses
        }
        $there = @()
        if ($holders.ContainsKey($listen[1])) {
            $there = @($holders[$listen[1]])
        }
        $kind = Get-TakenKind -ErrorCode $code -Address $listen[0] -Holders $there
        if ($kind -cne '') {
            @{ Listener = $listener; Address = $listen[0]; Port = [int] $listen[1]; Kind = $kind }
        }
    }
}

function Remove-Taken {
    param([System.Collections.IDictionary] $Wanted, [object[]] $Taken)
    $gone = @{}
    foreach ($item in $Taken) {
        $gone[$item.Listener] = $true
    }
    $left = [ordered] @{}
    foreach ($listener in $Wanted.Keys) {
        if (-not $gone.ContainsKey($listener)) {
            $left[$listener] = $Wanted[$listener]
        }
    }
    $left
}

# Who holds them, where Windows tells it.
function Add-Owners {
    param([object[]] $Taken)
    if (@($Taken).Count -eq 0) {
        return
    }
    $owners = @()
    try {
        $owners = @(Get-PortOwners)
    } catch {
        # The port is taken all the same.
        $null = $_
    }
    foreach ($item in $Taken) {
        $name = $null
        foreach ($owner in $owners) {
            if (($null -eq $name) -and ($owner.Port -eq $item.Port) -and (Test-Meets -Address $item.Address -Holder $owner.Address)) {
                $name = '{0} ({1})' -f $owner.Name, $owner.Id
            }
        }
        [ordered] @{
            'protocol' = 'tcp'
            'listen-address' = $item.Address
            'listen-port' = $item.Port
            'kind' = $item.Kind
            'owner' = $name
        }
    }
}
