# What is handed to the elevated setup, and the text that PowerShell gets for it.

function ConvertTo-OrderText {
    param([hashtable] $Request, [string] $Sid, [int] $Ticket, [long] $Until, [bool] $Agreed)
    $files = @()
    if ($Request.Action -ceq 'install') {
        $files = @(foreach ($name in $InstalledFiles) {
            [ordered] @{ 'name' = $name; 'sha256' = $Request.Hashes[$name] }
        })
    }
    ConvertTo-AsciiJson -Answer ([ordered] @{
        'version' = 1
        'action' = $Request.Action
        'ticket' = $Ticket
        'user' = $Sid
        'answer-until' = $Until
        'agreed' = $Agreed
        'policy' = $Request.Policy
        'files' = $files
    })
}

# The loader with its three values, without its comments: the shorter, the better for
# a command line. Each value must have the form that cannot end a text in quotes.
function ConvertTo-LoaderText {
    param([string] $SetupHash, [string] $OrderHash, [string] $Staging)
    foreach ($hash in @($SetupHash, $OrderHash)) {
        Assert-Form -Value $hash -Pattern $HashPattern -Place 'a hash for the loader'
    }
    Assert-Form -Value $Staging -Pattern '\A[A-Za-z0-9+/]{4,4000}={0,2}\z' -Place 'a path for the loader'
    $lines = foreach ($line in $LoaderText.Split("`n")) {
        $text = $line.Trim()
        if (($text.Length -gt 0) -and (-not $text.StartsWith('#'))) {
            $text
        }
    }
    ($lines -join "`n").Replace('__STAGING__', $Staging).Replace('__SETUP__', $SetupHash).Replace('__ORDER__', $OrderHash)
}
