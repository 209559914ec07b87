# The time of day.

function Get-UnixTime {
    [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
}
