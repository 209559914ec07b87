# What stands on this machine, and whether that is what is wanted.

function Get-Situation {
    param([hashtable] $Caller, [hashtable] $Places)
    $script:Step = 'read the registry'
    $own = Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid)
    $policy = $null
    if ($own.ContainsKey('policy')) {
        try {
            $policy = ConvertTo-PolicyTable -Text $own['policy']
        } catch [System.IO.InvalidDataException] {
            # It was not written by this version: as good as none.
            $null = $_
        }
    }
    $situation = @{
        Installed = Read-Installed -Values (Get-RegistryValues -Path 'SOFTWARE\wslmesh')
        Policy = $policy
        HasPolicy = $own.ContainsKey('policy')
        Ledger = @((Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Caller.Sid + '\ledger')).Keys)
        HasKey = @(Get-RegistryKeys -Path 'SOFTWARE\wslmesh') -ccontains $Caller.Sid
        Others = @(Find-OtherUsers -Sid $Caller.Sid)
        Hashes = @{}
        Tasks = $null
        HasFolder = $false
        HasSelection = $false
    }
    $script:Step = 'look at the tasks'
    $situation.Tasks = Get-TaskFacts -Sid $Caller.Sid
    $script:Step = 'look at the files'
    foreach ($name in $InstalledFiles) {
        $situation.Hashes[$name] = Get-FileHashText -Path ($Places.Program + '\' + $name)
    }
    $own = $Places.Program + '\' + $Caller.Sid
    $situation.HasFolder = Test-Folder -Path $own
    $situation.HasSelection = Test-File -Path ($own + '\inbox\selection.json')
    $situation
}

function Test-SameTask {
    param($Task, [hashtable] $Action)
    ($null -ne $Task) -and $Task.Enabled -and ($Task.Program -ceq $Action.Program) -and ($Task.Arguments -ceq $Action.Arguments)
}

# Whether an install would change nothing.
function Test-Unchanged {
    param([hashtable] $Situation, [hashtable] $Request, [hashtable] $Actions)
    if (($null -eq $Situation.Installed) -or ($null -eq $Situation.Policy) -or (-not $Situation.HasSelection)) {
        return $false
    }
    $installed = ConvertTo-AsciiJson -Answer (New-Installed -Package $Request.Policy['package'] -Hashes $Request.Hashes)
    if ($Situation.Installed.Text -cne $installed) {
        return $false
    }
    if ((ConvertTo-AsciiJson -Answer $Situation.Policy) -cne (ConvertTo-AsciiJson -Answer $Request.Policy)) {
        return $false
    }
    foreach ($name in $InstalledFiles) {
        if ($Situation.Hashes[$name] -cne $Request.Hashes[$name]) {
            return $false
        }
    }
    if (-not (Test-SameTask -Task $Situation.Tasks.Forward -Action $Actions.Forward)) {
        return $false
    }
    if (-not $Request.Policy['logon']) {
        return ($null -eq $Situation.Tasks.Logon)
    }
    Test-SameTask -Task $Situation.Tasks.Logon -Action $Actions.Logon
}

# Whether there is nothing left that only an administrator could remove.
function Test-Clean {
    param([hashtable] $Situation)
    if ($Situation.HasKey -or $Situation.HasFolder -or ($null -ne $Situation.Tasks.Forward) -or ($null -ne $Situation.Tasks.Logon)) {
        return $false
    }
    # What all users share goes with the last of them.
    $files = @($Situation.Hashes.Values | Where-Object { $null -ne $_ })
    ($Situation.Others.Count -gt 0) -or (($null -eq $Situation.Installed) -and ($files.Count -eq 0))
}

# What an uninstall took away: what stood before it.
function Get-RemovedWords {
    param([hashtable] $Situation)
    $rules = @($Situation.Ledger | Where-Object { $_ -clike 'tcp/*' }).Count
    $firewall = @($Situation.Ledger | Where-Object { $_ -clike 'firewall/*' }).Count
    if ($rules -gt 0) {
        'port forwards: {0}' -f $rules
    }
    if ($firewall -gt 0) {
        'firewall rules: {0}' -f $firewall
    }
    if ($null -ne $Situation.Tasks.Forward) {
        'the task that makes forwards'
    }
    if ($null -ne $Situation.Tasks.Logon) {
        'the task that starts the distribution after a logon'
    }
    if ($Situation.HasPolicy) {
        'the policy and the list of what is ours'
    }
    if ($Situation.Others.Count -gt 0) {
        'the program files stay: other users of this machine need them ({0})' -f $Situation.Others.Count
    } elseif ($null -ne $Situation.Installed) {
        'the program files'
    }
}
