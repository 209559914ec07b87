# What refresh.ps1 says besides of the task and of what is installed.

function Get-InstalledText {
    $values = Get-RegistryValues -Path 'SOFTWARE\wslmesh'
    if ($values.ContainsKey('installed')) {
        return $values['installed']
    }
    ''
}

function Get-LocalAppData {
    $path = [Environment]::GetFolderPath('LocalApplicationData')
    if ($path -ceq '') {
        return $null
    }
    $path
}

# How the last run of the task ended, for a person; '' where that cannot be told.
function Get-TaskResult {
    param([string] $Sid)
    try {
        $task = Open-ForwardTask -Sid $Sid
        '0x{0:x8}' -f [int] $task.LastTaskResult
    } catch {
        ''
    }
}
