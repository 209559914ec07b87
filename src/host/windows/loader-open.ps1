# The text that is run elevated. It is fixed but for two hashes and a path, which are
# checked by pattern before they go in, and it reaches PowerShell as base64.
$LoaderText = @'
