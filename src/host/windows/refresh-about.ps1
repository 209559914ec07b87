#Requires -Version 5.1
# refresh.ps1: makes the forwards of one Windows user those that the agent inside
# WSL asks for. One call is one sync: a JSON request on standard input, one JSON
# answer on standard output, exit code 0 whenever an answer was printed.
#
# Where wslmesh is installed on Windows the work is done by forward.ps1, which a task
# runs as SYSTEM; this script says which forwards it is about, in integers, and waits
# for the answer. Where nothing is installed and the caller happens to be elevated,
# it does the work by itself.
