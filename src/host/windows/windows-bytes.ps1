# Files as bytes, and their hashes.

# The largest file of ours is the relay, below 2 MB. Opened once: what is hashed is
# what is used. In a table, because PowerShell hands over a list byte by byte.
function Read-FileBytes {
    param([string] $Path)
    $stream = New-Object System.IO.FileStream($Path, [System.IO.FileMode]::Open, [System.IO.FileAccess]::Read, [System.IO.FileShare]::Read)
    try {
        if ($stream.Length -gt 33554432) {
            throw ('{0} is larger than any file of wslmesh' -f $Path)
        }
        $memory = New-Object System.IO.MemoryStream
        $stream.CopyTo($memory)
        @{ Bytes = $memory.ToArray() }
    } finally {
        $stream.Dispose()
    }
}

# The provider that is also allowed where only certified ones are (FIPS).
function Get-Hash {
    param([byte[]] $Bytes)
    $algorithm = New-Object System.Security.Cryptography.SHA256CryptoServiceProvider
    try {
        [System.BitConverter]::ToString($algorithm.ComputeHash($Bytes)).Replace('-', '').ToLowerInvariant()
    } finally {
        $algorithm.Dispose()
    }
}
