# What a policy agrees to.

# The first grant whose protocol and both ranges fit, or $null. It alone says where
# the forward listens and what the firewall lets through.
function Find-Grant {
    param([hashtable] $Policy, [string] $Protocol, [int] $ListenPort, [int] $ConnectPort)
    foreach ($grant in $Policy.Grants) {
        if (($grant.Protocol -ceq $Protocol) -and
            ($ListenPort -ge $grant.Listen.First) -and ($ListenPort -le $grant.Listen.Last) -and
            ($ConnectPort -ge $grant.Connect.First) -and ($ConnectPort -le $grant.Connect.Last)) {
            return $grant
        }
    }
    $null
}

# A forward that the policy does not agree to, as the answer has it.
function New-Refused {
    param([string] $Protocol, [int] $ListenPort, [int] $ConnectPort, [string] $Reason)
    [ordered] @{
        'protocol' = $Protocol
        'listen-port' = $ListenPort
        'connect-port' = $ConnectPort
        'reason' = $Reason
    }
}

# The policy of this user as the registry has it. A policy that cannot be read is no
# fault of the request.
function ConvertTo-AgreedPolicy {
    param([string] $Text)
    try {
        ConvertTo-Policy -Text $Text
    } catch [System.IO.InvalidDataException] {
        throw ('the policy in the registry cannot be read ({0}); run "wslmesh host install" again' -f $_.Exception.Message)
    }
}
