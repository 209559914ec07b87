# ---- Windows ---------------------------------------------------------------
# What it writes.

function Write-Answer {
    param([string] $Text)
    try {
        [Console]::OutputEncoding = New-Object System.Text.UTF8Encoding($false)
    } catch {
        # Refused where no console is attached; the text is ASCII in any case.
        $null = $_
    }
    [Console]::Out.Write($Text + "`n")
    [Console]::Out.Flush()
}
