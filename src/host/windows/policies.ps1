Write-Output ('wslmesh {0} {1}' -f $ExecutionContext.SessionState.LanguageMode, ((Get-ExecutionPolicy -List | ForEach-Object { '{0}={1}' -f $_.Scope, $_.ExecutionPolicy }) -join ','))
