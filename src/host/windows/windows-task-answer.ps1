# What goes back to the user's side.

# The answer appears as a whole: written beside and moved into place. A reader or a
# scanner that holds the old one keeps it for moments only.
function Write-TaskAnswer {
    param([string] $Sid, [string] $Text)
    $folder = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid)
    $path = [System.IO.Path]::Combine($folder, 'answer.json')
    $new = [System.IO.Path]::Combine($folder, 'answer.json.new')
    [System.IO.File]::WriteAllText($new, $Text, (New-Object System.Text.UTF8Encoding($false)))
    for ($turn = 1; $true; $turn += 1) {
        try {
            if ([System.IO.File]::Exists($path)) {
                [System.IO.File]::Replace($new, $path, [NullString]::Value)
            } else {
                [System.IO.File]::Move($new, $path)
            }
            return
        } catch {
            if ($turn -ge 20) {
                throw
            }
        }
        Start-Sleep -Milliseconds 100
    }
}
