# shellcheck shell=dash
# The sysctls that exist once per kernel, and the way back.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh
sysctl_of() { tr '\t' ' ' <"/proc/sys/$(echo "$1" | tr . /)"; }
make_eth0 1500
# An earlier scenario's agent may have left its own values: begin with others.
echo 212992 >/proc/sys/net/core/rmem_max
echo 212992 >/proc/sys/net/core/wmem_max
echo '4096 131072 6291456' >/proc/sys/net/ipv4/tcp_rmem
rmem=$(sysctl_of net.core.rmem_max)
wmem=$(sysctl_of net.core.wmem_max)
tcp_rmem=$(sysctl_of net.ipv4.tcp_rmem)

config <<'T'
[sysctl]
"net.core.rmem_max" = 134217728
"net.core.wmem_max" = 134217728
"net.ipv4.tcp_rmem" = "4096 87380 134217728"
T
ok 'before: net.core.rmem_max is not yet the wanted value' test "$rmem" != 134217728
ok 'apply ends well' agent apply
is 'net.core.rmem_max is set' "$(sysctl_of net.core.rmem_max)" 134217728
is 'net.core.wmem_max is set' "$(sysctl_of net.core.wmem_max)" 134217728
is 'net.ipv4.tcp_rmem is set, all three' "$(sysctl_of net.ipv4.tcp_rmem)" '4096 87380 134217728'
ok 'a second apply ends well' agent apply

# The second pass has read our own values; they must not become the saved ones.
ok 'restore ends well' agent restore
is 'net.core.rmem_max is as before' "$(sysctl_of net.core.rmem_max)" "$rmem"
is 'net.core.wmem_max is as before' "$(sysctl_of net.core.wmem_max)" "$wmem"
is 'net.ipv4.tcp_rmem is as before' "$(sysctl_of net.ipv4.tcp_rmem)" "$tcp_rmem"
ok 'a second restore ends well' agent restore
is 'a second restore changes nothing' "$(sysctl_of net.core.rmem_max)" "$rmem"
drop_eth0
