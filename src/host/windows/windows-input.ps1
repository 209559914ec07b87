# What it reads.

function Read-StandardInput {
    $encoding = New-Object System.Text.UTF8Encoding($false)
    $reader = New-Object System.IO.StreamReader([Console]::OpenStandardInput(), $encoding)
    $reader.ReadToEnd()
}
