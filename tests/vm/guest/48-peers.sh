# shellcheck shell=dash
# Peers in the lab's worlds, both ends of the tunnel in the kernel: one whose name leads
# elsewhere, and a node that moves.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
lab_begin

ok 'a peer is followed to where its name leads' trial peers::kernel_follows
figures
ok 'a peer learns the address of a node that moved' trial peers::kernel_learns
figures
lab_end
