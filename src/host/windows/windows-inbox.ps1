# What comes from the user's side.

# A link or a junction in the place of the file or of its folder would make this
# process, as SYSTEM, read what its user chose. Asked before the file is opened and
# again while it is open; whoever changes it in between gains an answer that names
# nothing of what was read. Bytes beyond ASCII become '?', which no form allows.
function Read-Selection {
    param([string] $Sid)
    $folder = [System.IO.Path]::Combine((Get-InstalledFolder), $Sid, 'inbox')
    $path = [System.IO.Path]::Combine($folder, 'selection.json')
    Assert-PlainFile -Folder $folder -Path $path
    $stream = New-Object System.IO.FileStream($path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Read)
    try {
        Assert-PlainFile -Folder $folder -Path $path
        if ($stream.Length -gt 65536) {
            throw (New-InvalidRequest -Message 'selection: larger than 65536 bytes')
        }
        $bytes = New-Object byte[] 65536
        $length = 0
        do {
            $read = $stream.Read($bytes, $length, $bytes.Length - $length)
            $length += $read
        } while ($read -gt 0)
        [System.Text.Encoding]::ASCII.GetString($bytes, 0, $length)
    } finally {
        $stream.Dispose()
    }
}

function Assert-PlainFile {
    param([string] $Folder, [string] $Path)
    $link = [int] [System.IO.FileAttributes]::ReparsePoint
    $directory = [int] [System.IO.FileAttributes]::Directory
    $above = [int] [System.IO.File]::GetAttributes($Folder)
    $own = [int] [System.IO.File]::GetAttributes($Path)
    if ((($above -band $link) -ne 0) -or (($own -band ($link -bor $directory)) -ne 0)) {
        throw (New-InvalidRequest -Message 'selection: no plain file in a plain folder')
    }
}
