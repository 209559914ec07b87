#Requires -Version 5.1
# host.ps1: installs, removes and examines the Windows side of wslmesh for the Windows
# user who runs it. A JSON request on standard input, one JSON answer on standard
# output, exit code 0 whenever an answer was printed. It has no administrator rights;
# what needs them is done by setup.ps1, which it starts after Windows has asked the
# person.
