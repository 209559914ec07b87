#Requires -Version 5.1
# forward.ps1: makes the forwards of one Windows user those that were selected, as
# far as the policy of this machine agrees. A task runs it as SYSTEM; its argument
# was fixed when the task was made. It trusts nothing that the user can write: the
# selection holds integers alone, the guest's address is found and checked here, and
# what the user may have is read from keys that only administrators can write.
#
# It has no user of its own: all that belongs to the user is reached by the SID.
param([string] $Sid)
