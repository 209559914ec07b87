# A test and what it may say.

# A test that needs what this system does not have was not run: .NET says that it lacks it.
function Test-Case {
    param([string] $Name, [scriptblock] $Body)
    Reset-World
    try {
        & $Body
        $script:Passed += 1
    } catch {
        $cause = $_.Exception.GetBaseException()
        if ($cause -is [System.PlatformNotSupportedException]) {
            $script:NotRun += 1
            Write-Host ('  not run: {0}: {1}' -f $Name, $cause.Message)
            return
        }
        $script:Failed += 1
        Write-Host ('  FAILED {0}: {1} (line {2})' -f $Name, $_.Exception.Message, $_.InvocationInfo.ScriptLineNumber)
    }
}

# Compared as text, in this case: numbers and names are what the answers are made of.
function Assert-Equal {
    param($Expected, $Found)
    if ([string] $Expected -cne [string] $Found) {
        throw ('expected "{0}" and found "{1}"' -f $Expected, $Found)
    }
}

function Assert-True {
    param($Found, [string] $What)
    if ($Found -isnot [bool] -or -not $Found) {
        throw ('not true: ' + $What)
    }
}

# The message of what a block throws.
function Get-Message {
    param([scriptblock] $Body)
    try {
        [void] (& $Body)
    } catch {
        return $_.Exception.Message
    }
    throw 'nothing was thrown'
}

# A table as one text, in the order of its names.
function Get-TableText {
    param([hashtable] $Table)
    @($Table.Keys | Sort-Object | ForEach-Object { '{0}={1}' -f $_, $Table[$_] }) -join ' '
}
