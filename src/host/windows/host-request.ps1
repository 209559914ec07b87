# A request to host.ps1, checked field by field.

# A field that may be absent counts as false.
function Read-Agreed {
    param($Request)
    if ($null -eq $Request.PSObject.Properties['agreed']) {
        return $false
    }
    Assert-Switch -Value $Request.'agreed' -Place 'agreed'
    $Request.'agreed'
}

# The names without 'agreed' where it is absent: the check of fields knows no choice.
function Select-Fields {
    param($Request, [string[]] $Names)
    foreach ($name in $Names) {
        if (($name -cne 'agreed') -or ($null -ne $Request.PSObject.Properties['agreed'])) {
            $name
        }
    }
}

# Request text -> a table: Action, Policy, Hashes, Agreed, Probe.
function ConvertTo-HostRequest {
    param([string] $Text)
    $request = ConvertFrom-RequestText -Text $Text -Place 'request'
    if (($request -isnot [System.Management.Automation.PSCustomObject]) -or ($null -eq $request.PSObject.Properties['action'])) {
        throw (New-InvalidRequest -Message 'request: must be an object with the field "action"')
    }
    $action = $request.'action'
    [void] (ConvertTo-Choice -Value $action -Choices @('look', 'install', 'uninstall', 'check') -Place 'action')
    $result = @{ Action = $action; Policy = $null; Hashes = $null; Agreed = $false; Probe = $false }
    if ($action -ceq 'install') {
        Assert-Fields -Object $request -Place 'request' -Names @(Select-Fields -Request $request -Names @('version', 'action', 'policy', 'package', 'files', 'agreed'))
        $result.Policy = ConvertTo-PolicyTable -Text (ConvertTo-PolicyText -Value $request.'policy')
        if (($request.'package' -isnot [string]) -or ($request.'package' -cne $result.Policy['package'])) {
            throw (New-InvalidRequest -Message 'package: must be that of the policy')
        }
        $result.Hashes = ConvertTo-Hashes -Value $request.'files' -Names @('forward.ps1', 'setup.ps1', 'wslmesh-relay.exe')
        $result.Agreed = Read-Agreed -Request $request
    }
    if ($action -ceq 'uninstall') {
        Assert-Fields -Object $request -Place 'request' -Names @(Select-Fields -Request $request -Names @('version', 'action', 'files', 'agreed'))
        $result.Hashes = ConvertTo-Hashes -Value $request.'files' -Names @('setup.ps1')
        $result.Agreed = Read-Agreed -Request $request
    }
    if ($action -ceq 'check') {
        Assert-Fields -Object $request -Place 'request' -Names @('version', 'action', 'probe')
        Assert-Switch -Value $request.'probe' -Place 'probe'
        $result.Probe = $request.'probe'
    }
    if ($action -ceq 'look') {
        Assert-Fields -Object $request -Place 'request' -Names @('version', 'action')
    }
    Assert-Version -Value $request.'version' -Place 'version'
    $result
}
