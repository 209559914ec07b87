# The text that is run elevated. It is fixed but for two hashes and a path, which are
# checked by pattern before they go in, and it reaches PowerShell as base64.
$LoaderText = @'
# Runs with administrator rights. Nothing is run, and nothing believed, that does not
# have the hash that is given here; both files are read once, so what was checked is
# what is used. Modules come from Windows' own folder alone.
if ([string] $ExecutionContext.SessionState.LanguageMode -cne 'FullLanguage') {
    # Before the first call of a method, which would end this without words.
    exit 28
}
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$env:PSModulePath = $PSHOME + '\Modules'
$folder = [System.Text.Encoding]::UTF8.GetString([System.Convert]::FromBase64String('__STAGING__'))
$texts = @{}
foreach ($file in @(@('setup.ps1', '__SETUP__'), @('order.json', '__ORDER__'))) {
    try {
        $bytes = [System.IO.File]::ReadAllBytes($folder + '\' + $file[0])
        $digest = (New-Object System.Security.Cryptography.SHA256CryptoServiceProvider).ComputeHash($bytes)
        $hash = [System.BitConverter]::ToString($digest).Replace('-', '').ToLowerInvariant()
    } catch {
        # Whatever the reason: it was not read.
        exit 29
    }
    if ($hash -cne $file[1]) { exit 21 }
    $texts[$file[0]] = [System.Text.Encoding]::UTF8.GetString($bytes)
}
$setup = [scriptblock]::Create($texts['setup.ps1'])
& $setup $texts['order.json'] $folder
'@
