# What the tests of installing and removing by host.ps1 need besides: the user's folder,
# and an elevated side that is a script block. Read after world-host.ps1.

function Get-Account {
    $script:World.Account
}

function Get-TaskFacts {
    param([string] $Sid)
    if ($script:World.Stopped) { throw (New-Object System.Runtime.InteropServices.COMException('x', -2147216619)) }
    $script:World.Tasks
}

function Test-WinFolder {
    param([string] $Path)
    $script:World.Folders.ContainsKey($Path)
}

function Get-FileHashText {
    param([string] $Path)
    if ($script:World.Files.ContainsKey($Path)) {
        return Get-Hash -Bytes $script:World.Files[$Path]
    }
    $null
}

function Write-WinFile {
    param([string] $Path, [byte[]] $Bytes)
    $script:World.Files[$Path] = $Bytes
}

function Wait-WinProgram {
    param([hashtable] $Started, [long] $Milliseconds)
    Add-Call -Text ('wait ' + $Milliseconds)
    $body = $script:World.Later
    & $body
}

function Clear-Staging {
    param([string] $Path)
    Add-Call -Text 'no staging'
}

function Remove-Tree {
    param([string] $Path, [int] $Tries)
    Add-Call -Text ('remove ' + $Path)
}

function Read-WinText {
    param([string] $Path)
    if ($script:World.Files.ContainsKey($Path)) {
        return [System.Text.Encoding]::ASCII.GetString($script:World.Files[$Path])
    }
    ''
}

function Start-Setup {
    param([string] $Loader, [bool] $Raise, [bool] $Hidden, [int] $Seconds)
    $words = 'start, raise ' + $Raise
    if ($Hidden) {
        $words = 'start, agreed'
    }
    Add-Call -Text $words
    $script:World.Loader = [System.Text.Encoding]::Unicode.GetString([System.Convert]::FromBase64String($Loader))
    $body = $script:World.Setup
    (& $body) + @{ Program = @{} }
}

function Get-Answer {
    param([string] $Text)
    $script:World.Input = Get-InputText -Request $Text
    ConvertFrom-Json -InputObject (Get-HostAnswerText)
}

function Get-Order {
    ConvertFrom-Json -InputObject ([System.Text.Encoding]::ASCII.GetString($script:World.Files['U:\wslmesh\staging\order.json']))
}

function Set-Result {
    param([int] $Ticket, [string] $State, [string] $Administrator)
    $text = '{"version":1,"ticket":' + $Ticket + ',"state":"' + $State + '","detail":null,"administrator":"' + $Administrator + '","done":["a line"]}'
    $script:World.Files['P:\wslmesh\' + $script:World.Sid + '\setup.json'] = [System.Text.Encoding]::ASCII.GetBytes($text)
}
