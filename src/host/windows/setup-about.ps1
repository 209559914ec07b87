# setup.ps1: makes or removes the Windows side of wslmesh for one Windows user. It runs
# with administrator rights, from memory: a loader has checked the hashes of this text
# and of the order, which say what to do and for whom. It reads nothing else that a
# program without these rights could change, but for files whose hashes the order names.
#
# The account that runs this may be another one than the user it is for.
#
# Exit codes: 0 done, 20 not agreed to, 21 a hash differs, 22 no administrator rights,
# 23 failed, 24 another version is in the way, 25 agreed to too late, 26 our place under
# Program Files is taken, 27 another sync runs. PowerShell itself ends with 1 where a
# policy does not let the loader run.

param([string] $OrderText, [string] $Staging)
