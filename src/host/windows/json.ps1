# Text that goes out.

# ASCII alone survives every console code page: the rest becomes \uXXXX.
function ConvertTo-AsciiJson {
    param([System.Collections.IDictionary] $Answer)
    $json = ConvertTo-Json -InputObject $Answer -Depth 6 -Compress
    [regex]::Replace($json, '[^\x20-\x7E]', { param($match) '\u{0:x4}' -f [int] [char] $match.Value })
}
