# What goes back as JSON.

# A rule as the answer has it. Another tool's target may be a host name, or no
# target at all: then address and port are null.
function ConvertTo-Rule {
    param([string] $Listener, [string] $Target)
    $listen = $Listener.Split('/')
    $connectAddress = $null
    $connectPort = $null
    if ($Target -cmatch '\A(?<host>[^/]+)/(?<port>[1-9][0-9]{0,4})\z') {
        $connectAddress = $Matches['host']
        if ([int] $Matches['port'] -le 65535) {
            $connectPort = [int] $Matches['port']
        }
    }
    [ordered] @{
        'listen-address' = $listen[0].Replace('*', '0.0.0.0')
        'listen-port' = [int] $listen[1]
        'connect-address' = $connectAddress
        'connect-port' = $connectPort
    }
}

function ConvertTo-Rules {
    param([System.Collections.IEnumerable] $Listeners, [hashtable] $Rules)
    $list = @(foreach ($listener in $Listeners) {
        ConvertTo-Rule -Listener $listener -Target $Rules[$listener]
    })
    $list | Sort-Object -Property { $_['listen-port'] }, { $_['listen-address'] }
}

# An answer without the facts that the caller fills in.
function New-Answer {
    param([string] $State, $Detail)
    [ordered] @{
        'version' = 1
        'state' = $State
        'detail' = $Detail
        'elevated' = $false
        'rules' = @()
        'added' = 0
        'removed' = 0
        'kept' = 0
        'conflicts' = @()
        'taken' = @()
        'refused' = @()
        'firewall' = $null
        'installed' = $null
        'local-app-data' = $null
        'guest-address' = $null
        'windows-address' = $null
        'lowest-mtu' = $null
    }
}

# An answer of a run that changed nothing: kept are all rules of ours that stand.
function New-StandingAnswer {
    param([string] $State, $Detail, [hashtable] $Plan, [hashtable] $Rules)
    $answer = New-Answer -State $State -Detail $Detail
    $answer['rules'] = @(ConvertTo-Rules -Listeners $Plan.Owned.Keys -Rules $Rules)
    $answer['kept'] = $Plan.Owned.Count
    $answer['conflicts'] = @(ConvertTo-Rules -Listeners $Plan.Obstacles -Rules $Rules)
    $answer
}

# An answer of a run that wrote rules, judged by the table as read back.
function New-WrittenAnswer {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Rules, [hashtable] $Owned)
    $answer = New-Answer -State 'synced' -Detail $null
    $differences = New-Object System.Collections.ArrayList
    foreach ($listener in @($Plan.Kept) + @($Plan.Changed) + @($Plan.Added)) {
        if ($Rules[$listener] -cne $Wanted[$listener]) {
            [void] $differences.Add(('{0} leads to "{1}" instead of "{2}"' -f $listener, $Rules[$listener], $Wanted[$listener]))
        }
    }
    foreach ($listener in @($Plan.Changed) + @($Plan.Added)) {
        if ($Rules[$listener] -ceq $Wanted[$listener]) {
            $answer['added'] += 1
        }
    }
    foreach ($listener in $Plan.Kept) {
        if ($Rules[$listener] -ceq $Wanted[$listener]) {
            $answer['kept'] += 1
        }
    }
    foreach ($listener in $Plan.Removed) {
        if ($Owned.ContainsKey($listener)) {
            [void] $differences.Add(($listener + ' still stands'))
        } else {
            $answer['removed'] += 1
        }
    }
    if ($differences.Count -gt 0) {
        $answer['state'] = 'partial'
        $answer['detail'] = 'not as asked for: {0}; the first: {1}' -f $differences.Count, $differences[0]
    }
    $answer['rules'] = @(ConvertTo-Rules -Listeners $Owned.Keys -Rules $Rules)
    $answer['conflicts'] = @(ConvertTo-Rules -Listeners $Plan.Obstacles -Rules $Rules)
    $answer
}
