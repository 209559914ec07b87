# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The rpm, with its scripts, by rpm itself. Debian's rpm has an empty database, so
# a package that stands for the distribution gives what ours requires.
boot || exit 1
rp() { guest rpm --force-debian --dbpath /var/lib/rpm "$@"; }
has 'the rpm names its requirements' "$(rp -qp --requires "/packages/$rpm")" 'libc\.so\.6\(GLIBC'
ok 'rpm installs it' rp -i --nodeps "/packages/$rpm"
is 'the preset has enabled it' "$(guest systemctl is-enabled $unit)" enabled
guest systemctl start $unit
ok 'it runs' within 10 is_active
is 'its files are as packed' "$(rp -V --nodeps wslmesh)" ''
ok 'it changed sysctls' within 10 sysctl_is net.ipv4.tcp_keepalive_time 60
before=$(main_pid)
guest sh -c 'echo "# mine" >>/etc/wslmesh/wslmesh.toml'
ok 'rpm upgrades it' rp -U --nodeps --replacepkgs "/packages/$rpm"
ok 'it is restarted' within 10 restarted_since "$before"
has 'the edited file is kept' "$(guest tail -n 1 /etc/wslmesh/wslmesh.toml)" '^# mine$'
ok 'rpm erases it' rp -e wslmesh
ok 'the service is gone' not guest systemctl is-active -q $unit
is 'sysctls are back' "$(sysctl_of net.ipv4.tcp_keepalive_time)" 7200
is 'no file is left but the edited one' "$(guest sh -c 'ls -d /etc/wslmesh/* /var/lib/wslmesh /run/wslmesh /usr/bin/wslmesh 2>/dev/null')" /etc/wslmesh/wslmesh.toml.rpmsave
