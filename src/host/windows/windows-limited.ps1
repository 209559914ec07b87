# Commands that may hang.

# A command of Windows in a thread of its own: those that ask WMI may hang, and one
# that does costs this time and not the whole answer. Its name is a word of this script.
function Invoke-Limited {
    param([string] $Name, [hashtable] $Parameters, [int] $Seconds)
    $shell = [powershell]::Create()
    [void] $shell.AddCommand($Name)
    foreach ($key in $Parameters.Keys) {
        [void] $shell.AddParameter($key, $Parameters[$key])
    }
    $run = $shell.BeginInvoke()
    if (-not $run.AsyncWaitHandle.WaitOne([int] ($Seconds * 1000))) {
        return @{ Items = @(); Problem = ('no answer within {0} s' -f $Seconds) }
    }
    try {
        @{ Items = @($shell.EndInvoke($run)); Problem = $null }
    } catch {
        @{ Items = @(); Problem = $_.Exception.Message }
    } finally {
        $shell.Dispose()
    }
}
