# The firewall's part of a sync. Its failure is told and undoes nothing.

function New-FirewallAnswer {
    param([string] $State, $Detail)
    [ordered] @{
        'state' = $State
        'detail' = $Detail
        'added' = 0
        'removed' = 0
        'kept' = 0
        'blocks' = @()
        'profiles' = @()
        'covered' = $true
    }
}

# Names that belong to one of the two firewalls, as keys.
function Select-Names {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Ledger, [string] $Store)
    $names = @{}
    foreach ($name in $Wanted.Keys) {
        if ($Wanted[$name].Store -ceq $Store) {
            $names[$name] = $true
        }
    }
    foreach ($name in $Ledger.Keys) {
        if ($Ledger[$name] -ceq $Store) {
            $names[$name] = $true
        }
    }
    $names
}

# Rules of both firewalls that have one of the names. The cmdlets of the guest's
# firewall ask WMI: they are left alone where nothing is about them.
function Read-Firewall {
    param([hashtable] $Windows, [hashtable] $HyperV, [bool] $Blocking)
    $read = Get-WindowsFirewall -Names $Windows -Blocking $Blocking
    if ($HyperV.Count -gt 0) {
        $other = Get-HyperVFirewall -Names $HyperV
        foreach ($name in $other.Keys) {
            $read.Found[$name] = $other[$name]
        }
    }
    $read
}

# Makes one change after the other; what fails is told at the end, and the others are
# made. A rule that is replaced is taken away first: names need not be unique.
function Invoke-FirewallPlan {
    param([hashtable] $Plan, [System.Collections.IDictionary] $Wanted, [hashtable] $Found)
    $problems = New-Object System.Collections.ArrayList
    foreach ($name in @($Plan.Removed) + @($Plan.Replaced)) {
        try {
            Remove-OwnedRule -Store $Plan.Before[$name] -Name $name -Count $Found[$name].Count
        } catch {
            [void] $problems.Add(('{0}: {1}' -f $name, $_.Exception.Message))
        }
    }
    foreach ($name in @($Plan.Replaced) + @($Plan.Added)) {
        try {
            Add-OwnedRule -Rule $Wanted[$name]
        } catch {
            [void] $problems.Add(('{0}: {1}' -f $name, $_.Exception.Message))
        }
    }
    $problems
}

function Remove-OwnedRule {
    param([string] $Store, [string] $Name, [int] $Count)
    if ($Store -ceq 'hyper-v') {
        Remove-HyperVRule -Name $Name
    } else {
        Remove-WindowsRule -Name $Name -Count $Count
    }
}

function Add-OwnedRule {
    param([hashtable] $Rule)
    if ($Rule.Store -ceq 'hyper-v') {
        Add-HyperVRule -Rule $Rule
    } else {
        Add-WindowsRule -Rule $Rule
    }
}

# Judged by the rules as read back.
function New-FirewallResult {
    param([System.Collections.IDictionary] $Wanted, [hashtable] $Plan, [hashtable] $Found, [object[]] $Problems)
    $answer = New-FirewallAnswer -State 'done' -Detail $null
    $differences = New-Object System.Collections.ArrayList
    foreach ($name in @($Plan.Kept) + @($Plan.Replaced) + @($Plan.Added)) {
        if ($Found.ContainsKey($name) -and ($Found[$name].Count -eq 1) -and (Test-FirewallRule -Wanted $Wanted[$name] -Found $Found[$name][0])) {
            if ($Plan.Kept.Contains($name)) {
                $answer['kept'] += 1
            } else {
                $answer['added'] += 1
            }
        } else {
            [void] $differences.Add(($name + ' does not stand as asked for'))
        }
    }
    foreach ($name in $Plan.Removed) {
        if ($Found.ContainsKey($name)) {
            [void] $differences.Add(($name + ' still stands'))
        } else {
            $answer['removed'] += 1
        }
    }
    foreach ($name in $Plan.Foreign) {
        [void] $differences.Add(($name + ' exists and is not in our ledger: remove it by hand'))
    }
    $texts = @($Problems) + @($differences)
    if ($texts.Count -gt 0) {
        $answer['state'] = 'failed'
        $answer['detail'] = 'not as asked for: {0}; the first: {1}' -f $texts.Count, $texts[0]
    }
    $answer
}

# Rules of the guest's firewall where Windows has none: nothing can be done about
# them, and what the ledger says of them stays.
function Remove-HyperV {
    param([System.Collections.IDictionary] $Rules)
    $left = [ordered] @{}
    foreach ($name in $Rules.Keys) {
        if ($Rules[$name].Store -cne 'hyper-v') {
            $left[$name] = $Rules[$name]
        }
    }
    $left
}

# What a rule that is missing is missing for, or $null.
function Get-Unavailable {
    param([object[]] $Forwards, [hashtable] $Programs, [bool] $NoHyperV)
    if ($NoHyperV) {
        return 'this Windows has no firewall for guests (Hyper-V firewall, Windows 11 22H2 and later)'
    }
    if ($null -eq $Programs.Relay) {
        foreach ($forward in $Forwards) {
            if (($forward.ServedBy -ceq 'relay') -and ($forward.Firewall -cne 'none')) {
                return 'the relay is not installed on Windows: no rule lets anybody reach it'
            }
        }
    }
    $null
}

function Update-Firewall {
    param([System.Collections.IDictionary] $Wanted, [string] $Sid, [int] $Profiles)
    $script:Step = 'read the ledger of the firewall'
    $ledger = Select-FirewallLedger -Values (Get-LedgerValues -Sid $Sid)
    $windows = Select-Names -Wanted $Wanted -Ledger $ledger -Store 'windows'
    $hyperV = Select-Names -Wanted $Wanted -Ledger $ledger -Store 'hyper-v'
    $script:Step = 'look for the guest''s firewall'
    $missing = ($hyperV.Count -gt 0) -and (-not (Test-HyperVFirewall))
    $possible = $Wanted
    if ($missing) {
        $possible = Remove-HyperV -Rules $Wanted
        foreach ($name in $hyperV.Keys) {
            $ledger.Remove($name)
        }
        $hyperV = @{}
    }
    $script:Step = 'read the firewall'
    $read = Read-Firewall -Windows $windows -HyperV $hyperV -Blocking ($possible.Count -gt 0)
    $plan = New-FirewallPlan -Wanted $possible -Found $read.Found -Ledger $ledger
    $script:Step = 'write the ledger before the firewall'
    Set-LedgerValues -Sid $Sid -Old (ConvertTo-LedgerValues -Ledger $ledger) -New (ConvertTo-LedgerValues -Ledger $plan.Before)
    $problems = @()
    if ($plan.Changes -gt 0) {
        $script:Step = 'change the firewall'
        $problems = @(Invoke-FirewallPlan -Plan $plan -Wanted $possible -Found $read.Found)
        $script:Step = 'read the firewall back'
        $read = Read-Firewall -Windows $windows -HyperV $hyperV -Blocking ($possible.Count -gt 0)
    }
    $script:Step = 'write the ledger after the firewall'
    $after = Get-FirewallLedgerAfter -Before $plan.Before -Found $read.Found
    Set-LedgerValues -Sid $Sid -Old (ConvertTo-LedgerValues -Ledger $plan.Before) -New (ConvertTo-LedgerValues -Ledger $after)
    $answer = New-FirewallResult -Wanted $possible -Plan $plan -Found $read.Found -Problems $problems
    if (($answer['state'] -ceq 'done') -and ($null -ne $read.Override)) {
        $answer['detail'] = $read.Override
    }
    $answer['blocks'] = @(Find-Blocks -Wanted $possible -Blocks $read.Blocks) + @($read.Shut)
    $answer['profiles'] = @(ConvertTo-ProfileNames -Bits $read.Current)
    $answer['covered'] = ($read.Current -band $Profiles) -eq ($read.Current -band 7)
    @{ Answer = $answer; NoHyperV = $missing }
}

function Sync-Firewall {
    param([object[]] $Forwards, [hashtable] $Owned, [string] $Sid, [int] $Profiles)
    try {
        $script:Step = 'find the programs'
        $programs = Get-Programs
        $wanted = Get-WantedFirewall -Forwards $Forwards -Owned $Owned -Sid $Sid -Profiles $Profiles -Programs $programs
        $result = Update-Firewall -Wanted $wanted -Sid $Sid -Profiles $Profiles
        $answer = $result.Answer
        $reason = Get-Unavailable -Forwards $Forwards -Programs $programs -NoHyperV $result.NoHyperV
        if (($answer['state'] -ceq 'done') -and ($null -ne $reason)) {
            $answer['state'] = 'unavailable'
            $answer['detail'] = $reason
        }
        $answer
    } catch {
        New-FirewallAnswer -State 'failed' -Detail ('{0}: {1}' -f $script:Step, $_.Exception.Message)
    }
}
