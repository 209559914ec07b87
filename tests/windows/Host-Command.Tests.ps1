# The command that reads a script from standard input and calls it, by a second PowerShell
# of the kind that runs this. Unlike the rest, it is run as it is.

# As Script::command in src/host/scripts.rs puts it together.
function Get-CommandText {
    param([int] $Size)
    $path = [System.IO.Path]::Combine($PSScriptRoot, '..', '..', 'src', 'host', 'windows', 'command.ps1')
    $lines = @(foreach ($line in [System.IO.File]::ReadAllText($path).Split("`n")) {
        $text = $line.Trim()
        if (($text.Length -gt 0) -and (-not $text.StartsWith('#'))) { $text }
    })
    '$size = {0}; ' -f $Size + ($lines -join ' ')
}

# Writes the bytes in two halves, with a pause in milliseconds between them, and says how
# the second PowerShell ended. Before: what it runs before the command.
function Invoke-Second {
    param([string] $Before, [byte[]] $Bytes, [int] $Size, [int] $Pause)
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = [System.Diagnostics.Process]::GetCurrentProcess().MainModule.FileName
    $start.Arguments = '-NoProfile -NonInteractive -ExecutionPolicy Bypass -Command "' + $Before + (Get-CommandText -Size $Size) + '"'
    $start.UseShellExecute = $false
    $start.RedirectStandardInput = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $process = [System.Diagnostics.Process]::Start($start)
    $output = $process.StandardOutput.ReadToEndAsync()
    $errors = $process.StandardError.ReadToEndAsync()
    $half = [int] ($Bytes.Length / 2)
    try {
        $process.StandardInput.BaseStream.Write($Bytes, 0, $half)
        $process.StandardInput.BaseStream.Flush()
        Start-Sleep -Milliseconds $Pause
        $process.StandardInput.BaseStream.Write($Bytes, $half, $Bytes.Length - $half)
        $process.StandardInput.BaseStream.Flush()
        $process.StandardInput.Close()
    } catch [System.IO.IOException] {
        # It ended without reading all of it.
        $null = $_
    }
    if (-not $process.WaitForExit(60000)) {
        $process.Kill()
        throw 'the second PowerShell does not end'
    }
    @{ Code = $process.ExitCode; Text = $output.Result; Errors = $errors.Result }
}

# A script of more bytes than a pipe holds, and than it has characters; it prints what follows it.
function Get-ScriptBytes {
    $text = 'param($Stream)' + "`n" + '$rest = New-Object System.IO.MemoryStream; $Stream.CopyTo($rest)' + "`n"
    $text += '# ' + ([string] [char] 233) * 100000 + "`n"
    $text += '[Console]::Out.Write($MyInvocation.InvocationName + [System.Text.Encoding]::UTF8.GetString($rest.ToArray())); exit 5'
    @{ Bytes = [System.Text.Encoding]::UTF8.GetBytes($text) }
}

function Invoke-Sample {
    param([string] $Before, [int] $Pause)
    $script = (Get-ScriptBytes).Bytes
    $rest = [System.Text.Encoding]::UTF8.GetBytes("{}`nmore")
    Invoke-Second -Before $Before -Bytes ([byte[]] ($script + $rest)) -Size $script.Length -Pause $Pause
}

# What the second PowerShell takes for the policies of Windows.
function Get-PolicyText {
    param([string] $Machine, [string] $User)
    'function Get-ExecutionPolicy { [pscustomobject] @{ Scope = ''MachinePolicy''; ExecutionPolicy = ''' + $Machine + ''' }; [pscustomobject] @{ Scope = ''UserPolicy''; ExecutionPolicy = ''' + $User + ''' } }; '
}

Test-Case -Name 'the script is called with what follows it, however slowly it comes' -Body {
    foreach ($pause in @(0, 1500)) {
        $run = Invoke-Sample -Before '' -Pause $pause
        Assert-Equal -Expected "&{}`nmore" -Found $run.Text.TrimStart()
        Assert-True -Found ($run.Text[0] -cmatch '\s') -What 'an empty line says that it is called'
        Assert-Equal -Expected 5 -Found $run.Code
    }
}

Test-Case -Name 'a script that is cut short is not called' -Body {
    $script = (Get-ScriptBytes).Bytes
    $run = Invoke-Second -Before '' -Bytes ([byte[]] $script[0..9999]) -Size $script.Length -Pause 0
    Assert-Equal -Expected ('9 standard input ended after 10000 of {0} bytes' -f $script.Length) -Found ('{0} {1}' -f $run.Code, $run.Errors.Trim())
    Assert-Equal -Expected '' -Found $run.Text
}

Test-Case -Name 'in constrained language no script is called' -Body {
    $run = Invoke-Sample -Before '$ExecutionContext.SessionState.LanguageMode = ''ConstrainedLanguage''; ' -Pause 0
    Assert-True -Found $run.Text.StartsWith('wslmesh ConstrainedLanguage ') -What $run.Text
    Assert-Equal -Expected 0 -Found $run.Code
}

Test-Case -Name 'a group policy that allows no script of ours is respected, and no other' -Body {
    foreach ($policies in @(@('AllSigned', 'Undefined'), @('Undefined', 'Restricted'))) {
        $run = Invoke-Sample -Before (Get-PolicyText -Machine $policies[0] -User $policies[1]) -Pause 0
        Assert-Equal -Expected ('wslmesh FullLanguage MachinePolicy={0},UserPolicy={1}' -f $policies) -Found $run.Text.Trim()
    }
    foreach ($policy in @('RemoteSigned', 'Unrestricted')) {
        Assert-Equal -Expected 5 -Found (Invoke-Sample -Before (Get-PolicyText -Machine $policy -User 'Undefined') -Pause 0).Code
    }
    $run = Invoke-Sample -Before 'function Get-ExecutionPolicy { }; ' -Pause 0
    Assert-Equal -Expected 'wslmesh FullLanguage' -Found $run.Text.Trim()
}

Test-Case -Name 'files that are cut short, or more than was asked for, are refused' -Body {
    $bytes = [System.Text.Encoding]::ASCII.GetBytes("{}`n3`na`nb0`n12`nabc")
    $files = Split-Files -Bytes $bytes[0..9] -First 3 -Names @('a', 'b')
    Assert-Equal -Expected '97 10 98' -Found ($files['a'] -join ' ')
    Assert-Equal -Expected 0 -Found $files['b'].Length
    $table = @(
        @{ Names = @('a', 'b', 'c'); Words = 'c: it breaks off' }
        @{ Names = @('a', 'b'); Words = 'request: more follows than its files' }
        @{ Names = @(); Words = 'request: more follows than its files' }
    )
    foreach ($case in $table) {
        Assert-Equal -Expected $case.Words -Found (Get-Message -Body { Split-Files -Bytes $bytes -First 3 -Names $case.Names })
    }
    foreach ($text in @('', "`n", "-1`n", "1", "123456789`n")) {
        $bytes = [System.Text.Encoding]::ASCII.GetBytes($text)
        Assert-Equal -Expected 'a: its length: not of the form that is allowed here' -Found (Get-Message -Body { Split-Files -Bytes $bytes -First 0 -Names @('a') })
    }
}
