# Windows PowerShell 5.1 runs this file. Nothing here may use the automatic
# variable for pipeline input: merely naming it makes 5.1 swallow standard input
# before the first line runs.
#
# Order of the file: decisions first (objects in, objects out), then the order of
# events, then every call that touches Windows, then the lines that start it.

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'

# The inherited path starts with a folder that the user's unelevated programs can
# write; an elevated run must not load a module from there.
$env:PSModulePath = $PSHOME + '\Modules'

$script:Step = 'start'
$OctetPattern = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
$AddressPattern = $OctetPattern + '(?:\.' + $OctetPattern + '){3}'
$EndpointPattern = '\A' + $AddressPattern + '/[1-9][0-9]{0,4}\z'
# netsh stores '*' when a rule was made without a listen address.
$ListenerPattern = '\A(?:\*|' + $AddressPattern + ')/[1-9][0-9]{0,4}\z'
