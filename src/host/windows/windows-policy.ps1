# What was agreed to.

# The text of this user's policy, or '' where nobody agreed to one.
function Get-PolicyText {
    param([string] $Sid)
    $values = Get-RegistryValues -Path ('SOFTWARE\wslmesh\' + $Sid)
    if ($values.ContainsKey('policy')) {
        return $values['policy']
    }
    ''
}
