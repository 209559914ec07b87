# run.ps1 -Folder FOLDER [-Only NAME] [-Every N] [-Jobs N]: the scripts whole, on the double of Windows;
# tests/windows/run.ps1 -Whole starts it. Every suite has a process and worlds of its own, several run at once, and all
# of it is in the folder. Prints what failed; returns a table with Passed, Failed and NotRun.
param([string] $Folder, [string] $Only = '*', [int] $Every = 1, [int] $Jobs = [System.Environment]::ProcessorCount)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

# The long ones first, in shares.
$Suites = @(
    @{ Name = 'Kill-Setup'; Parts = 4 }
    @{ Name = 'Kill-Task'; Parts = 4 }
    @{ Name = 'Kill-Netsh'; Parts = 1 }
    @{ Name = 'Overlaps'; Parts = 1 }
    @{ Name = 'Faults'; Parts = 1 }
    @{ Name = 'Refusals'; Parts = 1 }
    @{ Name = 'Hostile'; Parts = 1 }
    @{ Name = 'Smoke'; Parts = 1 }
)
$tests = Split-Path -Path $PSScriptRoot -Parent
$checkout = Split-Path -Path (Split-Path -Path $tests -Parent) -Parent
$pwsh = Join-Path -Path $PSHOME -ChildPath 'pwsh'
# Of everything that is started from here.
$env:TMPDIR = $Folder
$counts = @{ Passed = 0; Failed = 0; NotRun = 0 }
$running = @()
try {
    & bash "$tests/double/install.sh" --pwsh $pwsh "$folder/double" | Out-Host
    if ($LASTEXITCODE -ne 0) { throw 'the double cannot be installed' }
    & python3 "$tests/assemble" $checkout "$folder/stage"
    if ($LASTEXITCODE -ne 0) { throw 'the scripts cannot be put together' }
    # A relay ends with its standard input.
    [System.IO.File]::WriteAllText("$folder/stage/wslmesh-relay.exe", "#!/bin/sh`nexec cat > /dev/null`n")
    $waiting = [System.Collections.Queue]::new()
    foreach ($suite in $Suites) {
        if ($suite.Name -notlike $Only) { continue }
        for ($part = 0; $part -lt $suite.Parts; $part += 1) {
            $waiting.Enqueue(@{ Name = $suite.Name; Share = "$part/$($suite.Parts)" })
        }
    }
    while (($waiting.Count -gt 0) -or ($running.Count -gt 0)) {
        while (($waiting.Count -gt 0) -and ($running.Count -lt $Jobs)) {
            $suite = $waiting.Dequeue()
            $own = "$folder/$($suite.Name)-$($suite.Share.Replace('/', '-'))"
            [void] [System.IO.Directory]::CreateDirectory($own)
            $start = [System.Diagnostics.ProcessStartInfo]::new($pwsh)
            foreach ($argument in @('-NoProfile', '-NonInteractive', '-File', "$PSScriptRoot/suite.ps1", '-Name', $suite.Name, '-Share', $suite.Share,
                    '-Double', "$folder/double", '-Stage', "$folder/stage", '-Folder', $own, '-Every', [string] $Every)) {
                $start.ArgumentList.Add($argument)
            }
            $start.RedirectStandardOutput = $true
            $start.RedirectStandardInput = $true
            $process = [System.Diagnostics.Process]::Start($start)
            $process.StandardInput.Close()
            $running += @{ Suite = $suite; Process = $process; Output = $process.StandardOutput.ReadToEndAsync(); Clock = [System.Diagnostics.Stopwatch]::StartNew() }
        }
        foreach ($run in @($running | Where-Object { $_.Process.HasExited })) {
            $running = @($running | Where-Object { $_ -ne $run })
            $lines = @($run.Output.Result.Split("`n") | Where-Object { $_ })
            Write-Host ('{0} {1} ({2:0} s)' -f $run.Suite.Name, $run.Suite.Share, $run.Clock.Elapsed.TotalSeconds)
            $last = [regex]::Match("$($lines | Select-Object -Last 1)", '\Acounts (\d+) (\d+) (\d+)\z')
            if ($last.Success) {
                $lines = @($lines | Select-Object -SkipLast 1)
                $counts.Passed += [int] $last.Groups[1].Value
                $counts.Failed += [int] $last.Groups[2].Value
                $counts.NotRun += [int] $last.Groups[3].Value
            } else {
                $counts.Failed += 1
                $lines += '  FAILED the suite did not come to its end'
            }
            $lines | ForEach-Object { Write-Host $_ }
        }
        Start-Sleep -Milliseconds 100
    }
} finally {
    foreach ($run in $running) { $run.Process.Kill($true) }
}
$counts
