# shellcheck shell=dash
# The lab's worlds, in a kernel with WireGuard: a tunnel and a connection through
# Windows while the guest's address changes; and the port of WireGuard, which Windows
# learns by a claim where it shares its ports with the guest.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
lab_begin

ok 'a peer in lan keeps its tunnel across ten addresses and a relay that is killed' trial kernel::lan_speaks_first
figures
ok 'so it does when the guest speaks first' trial kernel::guest_speaks_first
figures
ok 'a TCP client reconnects through the port proxy after each of ten addresses' trial kernel::tcp_reconnects
figures
ok 'doctor mtu names the router that passes less than the tunnel needs' trial kernel::path_mtu
ok 'a client in lan reaches TCP and WireGuard in each mode and after a leader was killed' trial walk::kernel
ok 'in mirrored mode the port of WireGuard is claimed once for each time it is opened' trial claim::kernel_mirrored
ok 'so it is in consomme mode' trial claim::kernel_consomme
ok 'a port that Windows reserves for the guest is not claimed' trial claim::kernel_reserved
ok 'a port that Windows refuses is reported and tried again on a reload' trial claim::kernel_refused
ok 'none is claimed in NAT mode or where the configuration does not want it' trial claim::kernel_not_wanted
lab_end
