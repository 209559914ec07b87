#!/bin/bash
# install.sh [--pwsh PROGRAM] [FOLDER]: makes the double ready in FOLDER (~/.cache/windows-double), in the
# place of an earlier one. PROGRAM is PowerShell 7 (pwsh from PATH). Its folder is copied (60 to 200 MB):
# modules are looked for in it, and a profile in it runs before a script that sees nothing of that.
# shellcheck disable=SC2016 # what is in single quotes is PowerShell
set -euo pipefail

source=$(dirname "$(readlink -f "$0")")
pwsh=pwsh
if [ "${1-}" = --pwsh ]; then
    pwsh=$2
    shift 2
fi
folder=$(readlink -m "${1-$HOME/.cache/windows-double}")

for tool in "$pwsh" python3 script setsid flock; do
    if ! command -v "$tool" >/dev/null; then
        echo "$tool is missing" >&2
        exit 1
    fi
done
if [ -d "$folder" ] && [ -n "$(ls -A "$folder")" ] && [ ! -e "$folder/WindowsDouble.dll" ]; then
    echo "$folder is a folder of something else" >&2
    exit 1
fi

export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 POWERSHELL_TELEMETRY_OPTOUT=1 POWERSHELL_UPDATECHECK=Off
new=$folder.new.$$
mkdir -p "$new/home"
trap 'rm -rf "$new"' EXIT

original=$("$pwsh" -NoProfile -NonInteractive -Command '$PSHOME')
cp -a "$original" "$new/pwsh"
cp "$source/start.ps1" "$new/pwsh/profile.ps1"
cp -R "$source/modules/." "$new/pwsh/Modules/"
# For scripts that write paths with a backslash: $PSHOME + '\Modules'.
ln -s pwsh/Modules "$new/pwsh\\Modules"
# A PowerShell that is a tool of .NET has no runtime of its own.
if [ ! -e "$new/pwsh/libcoreclr.so" ]; then
    ln -s "$(readlink -f "$(command -v dotnet)")" "$new/dotnet"
fi
for program in powershell netsh netstat new-world window run-task; do
    install -m 755 "$source/$program" "$new/$program"
done

# PowerShell 7.0 compiles against fewer assemblies than it has.
SOURCE=$source/src TARGET=$new/WindowsDouble.dll "$pwsh" -NoProfile -NonInteractive -Command '
    $ErrorActionPreference = $WarningPreference = "Stop"
    $references = @((Get-ChildItem -Path "$PSHOME/ref/*.dll").FullName)
    foreach ($name in "Microsoft.Win32.Registry", "System.IO.FileSystem.AccessControl",
        "System.Security.AccessControl", "System.Security.Principal.Windows",
        "System.Text.Encodings.Web", "System.Text.Json") {
        if (-not (Test-Path -Path "$PSHOME/ref/$name.dll")) { $references += "$PSHOME/$name.dll" }
    }
    $files = (Get-ChildItem -Path $env:SOURCE -Filter "*.cs").FullName
    Add-Type -Path $files -OutputAssembly $env:TARGET -ReferencedAssemblies $references'

rm -rf "$folder"
mv "$new" "$folder"
trap - EXIT

world=$(mktemp -d)
trap 'rm -rf "$world"' EXIT
"$folder/new-world" "$world"
answer=$(WINDOWS_DOUBLE_ROOT=$world "$folder/powershell" -Command '[Environment]::SystemDirectory')
if [ "$answer" != 'C:\Windows\System32' ]; then
    echo "it does not work: $answer" >&2
    exit 1
fi
echo "ready in $folder"
