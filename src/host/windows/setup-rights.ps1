# Who may do what with our folders and files, in Windows' own notation. None of them
# inherits, so that nothing depends on what stands above.

# Owners that an unelevated program can never be: administrators, the system, and
# Windows' installer.
$TrustedOwners = @('S-1-5-32-544', 'S-1-5-18', 'S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464')

# Users read and run what is there.
$ProgramSecurity = 'O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;BU)'

# The user reads. Nobody but administrators adds a name to a folder of ours or takes
# one away: whoever may add files to an empty folder may also turn it into a link.
function Get-FolderSecurity {
    param([string] $Sid)
    'O:BAD:P(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICI;0x1200a9;;;{0})' -f $Sid
}

# The one file that the user writes: contents and attributes, but neither its name nor
# its rights (read and write, 0x120089 and 0x120116). It is always there, so the user
# needs no right on the folder.
function Get-SelectionSecurity {
    param([string] $Sid)
    'O:BAD:P(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x12019f;;;{0})' -f $Sid
}
