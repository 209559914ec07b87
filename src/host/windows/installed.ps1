# What the registry says about an install, read with the same distrust as a request:
# a value that is no longer what was written counts as absent.

# The value "installed" as a table with Version, Contract and Text; $null without one.
function Read-Installed {
    param([hashtable] $Values)
    if (-not $Values.ContainsKey('installed')) {
        return $null
    }
    try {
        $found = ConvertFrom-RequestText -Text $Values['installed'] -Place 'installed'
        @{
            Version = [string] $found.'version'
            Contract = [int] $found.'contract'
            Text = $Values['installed']
        }
    } catch {
        # Contract 0 is nobody's: whoever asks must decide as for another version.
        @{ Version = 'unknown'; Contract = 0; Text = $Values['installed'] }
    }
}

# Windows users with a policy, but for this one: they need the programs. A key without
# a policy is what is left of something and needs nothing.
function Find-OtherUsers {
    param([string] $Sid)
    foreach ($key in @(Get-RegistryKeys -Path 'SOFTWARE\wslmesh')) {
        if (($key -cmatch $SidPattern) -and ($key -cne $Sid) -and
            (Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $key)).ContainsKey('policy')) {
            $key
        }
    }
}

# Words for an install of another contract that other users still need, or $null.
function Get-ContractObstacle {
    param($Installed, [string[]] $Others)
    if (($null -eq $Installed) -or ($Others.Count -eq 0) -or ($Installed.Contract -eq $Contract)) {
        return $null
    }
    'version {0} (contract {1}) is installed for {2} other Windows user(s) of this machine, and this version (contract {3}) cannot share its files; bring the other installs to this version, or remove them, first' -f $Installed.Version, $Installed.Contract, $Others.Count, $Contract
}
