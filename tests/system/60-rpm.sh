# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The rpm, with its scripts, by rpm itself, and every dependency held: Debian's rpm
# has an empty database, so a package represents the distribution.
# Two layers above the guest's files: one that it runs on, one that is a mere folder.
mkdir "$run/layer"
chown "$first_id:$first_id" "$run/layer"
boot "--overlay=$root_of_guest:$run/layer:/scratch" || exit 1
ok 'it requires nothing that a distribution has not' "$here/../stub.sh" "$packages/$rpm" "$run/share"
rp() { guest rpm --force-debian --dbpath /var/lib/rpm "$@"; }
rp -i /share/distribution.rpm
cp "$here/../../packaging/wslmesh.toml" "$run/share"
ok 'rpm installs the previous version' rp -i "/packages/previous/$previous_rpm"
is 'the preset has enabled it' "$(guest systemctl is-enabled $unit)" enabled
guest systemctl start $unit
ok 'it runs' within 10 is_active
ok 'it changed sysctls' within 10 sysctl_is net.ipv4.tcp_keepalive_time 60

# Upgrades: an untouched configuration gives way, an edited one stays.
guest install -D /etc/wslmesh/wslmesh.toml /var/lib/wslmesh/windows/refresh.ps1
before=$(main_pid)
ok 'rpm upgrades it' rp -U "/packages/$rpm"
ok 'it is restarted' within 10 restarted_since "$before"
is 'its files are as packed' "$(rp -V wslmesh)" ''
ok 'the configuration is the new one' guest cmp /etc/wslmesh/wslmesh.toml /share/wslmesh.toml
ok 'the folder for scripts of the earlier version is gone' not guest test -e /var/lib/wslmesh/windows
ok 'the group exists' guest getent group wslmesh
ok 'the folder for hooks exists' guest test -d /etc/wslmesh/hooks.d/address-changed
guest sh -c 'echo "# mine" >>/etc/wslmesh/wslmesh.toml'
has 'rpm sees what was edited' "$(rp -V wslmesh)" '^S\.5\.\.\.\.T\.  c /etc/wslmesh/wslmesh\.toml$'
ok 'going back to the previous version' rp -U --oldpackage "/packages/previous/$previous_rpm"
ok 'and up again' rp -U "/packages/$rpm"
has 'the edited file is kept' "$(guest tail -n 1 /etc/wslmesh/wslmesh.toml)" '^# mine$'
ok 'the new one is beside it' guest cmp /etc/wslmesh/wslmesh.toml.rpmnew /share/wslmesh.toml
ok 'it runs still' within 10 is_active

guest rm /etc/wslmesh/wslmesh.toml.rpmnew
guest sh -c 'echo "MINE=1" >>/etc/wslmesh/wsl-network.conf'
ok 'rpm erases it' rp -e wslmesh
ok 'the service is stopped' not guest systemctl is-active -q $unit
is 'sysctls are back' "$(sysctl_of net.ipv4.tcp_keepalive_time)" 7200
is 'nothing is left but what a person wrote' "$(guest sh -c 'ls -d /etc/wslmesh/* /var/lib/wslmesh /run/wslmesh /usr/*/*/*wslmesh* /usr/bin/wslmesh /etc/systemd/system/*/wslmesh* 2>/dev/null')" \
    "/etc/wslmesh/wsl-network.conf.rpmsave
/etc/wslmesh/wslmesh.toml.rpmsave"
guest rm -r /etc/wslmesh

# A scratch root, as in an image that is being built: everything exists and
# systemd does not run. The layer shows what the package leaves.
scratch() { guest rpm --force-debian --dbpath /var/lib/rpm --root /scratch "$@"; }
# As every builder of images has it; systemd-tmpfiles wants it.
guest mount -t proc proc /scratch/proc
# What is in the layer and not below it, but for the books of rpm and of the catalog
# and for folders that belong to another package of a real distribution.
left() {
    (cd "$run/layer" && find . ! -path './var/lib/rpm*' ! -path './var/lib/systemd/catalog*' \
        \( ! -type d -o -name 'wslmesh*' -o -path './etc/*' \) | sort) |
        while read -r path; do [ -e "$root_of_guest/$path" ] || echo "$path"; done
}
scratch -i --replacepkgs /share/distribution.rpm
left >"$run/before"
ok 'it is installed into a scratch root' scratch -i "/packages/$rpm"
ok 'its service is enabled there' guest test -h /scratch/etc/systemd/system/multi-user.target.wants/$unit
has 'the group is made there' "$(guest cat /scratch/etc/group)" '^wslmesh:'
ok 'the folder for hooks is made there' guest test -d /scratch/etc/wslmesh/hooks.d/address-changed
is 'rpm finds it as packed' "$(scratch -V wslmesh)" ''
ok 'it is erased there' scratch -e wslmesh
left >"$run/after"
is 'nothing is left of it' "$(diff "$run/before" "$run/after")" ''
