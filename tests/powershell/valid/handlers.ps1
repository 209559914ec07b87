Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
function Write-WinOutput {
    [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
}
Write-WinOutput
try { Write-Output 'a' } finally { Write-Output 'b' }
try { Write-Output 'a' } catch [System.IO.InvalidDataException] { Write-Output 'b' } catch { throw }
try { try { Write-Output 'a' } finally { Write-Output 'b' } } catch { throw }
