Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
# ---- Windows ---------------------------------------------------------------
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
try { Write-Output 'a' } finally { Write-Output 'b' }
try { Write-Output 'a' } catch [System.IO.InvalidDataException] { Write-Output $_.Exception.Message } catch { Write-Output 'c' }
try { try { Write-Output 'a' } finally { Write-Output 'b' } } catch { throw }
