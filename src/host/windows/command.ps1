# What powershell.exe is called with, as one line, and in front of it the number of the script's bytes in $size:
# reads the script from standard input and calls it. What comes after it on the same pipe is for the script, which
# gets the stream. No other value is put into the text, and no file is read.
#
# Nothing before the stream is opened may need a method: constrained language has none. A script block goes past
# the policies about script files, so those of a group are asked for here (about_Execution_Policies: they beat
# -ExecutionPolicy); one that allows no script, or signed ones alone, is respected. The text must not name the
# variable for pipeline input, because then PowerShell itself reads standard input.
#
# The empty line says that the script is called. Exit code 9: standard input ended before the script did.
$ErrorActionPreference = 'Stop';
$env:PSModulePath = $PSHOME + '/Modules';
$language = [string] $ExecutionContext.SessionState.LanguageMode;
$policies = @(Get-ExecutionPolicy -List | ForEach-Object { '{0}={1}' -f $_.Scope, $_.ExecutionPolicy }) -join ',';
if (($language -cne 'FullLanguage') -or ($policies -cnotlike 'MachinePolicy=*') -or ($policies -cmatch '(MachinePolicy|UserPolicy)=(AllSigned|Restricted)')) {
    Write-Host ('wslmesh ' + $language + ' ' + $policies);
    exit 0;
};
$stream = [Console]::OpenStandardInput();
$bytes = New-Object byte[] $size;
$length = 0;
while ($length -lt $size) {
    $read = $stream.Read($bytes, $length, $size - $length);
    if ($read -lt 1) {
        [Console]::Error.Write(('standard input ended after {0} of {1} bytes' -f $length, $size));
        exit 9;
    };
    $length += $read;
};
$block = [scriptblock]::Create([System.Text.Encoding]::UTF8.GetString($bytes));
[Console]::Out.WriteLine();
& $block $stream;
