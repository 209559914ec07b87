# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The deb as a stranger installs it.
boot || exit 1
ok 'apt installs the deb' apt_get install "/packages/$deb"
ok 'the service is up' within 10 is_active
is 'it is enabled' "$(guest systemctl is-enabled $unit)" enabled
has 'systemd saw READY and a status' "$(guest systemctl status --no-pager $unit)" 'Status: "172\.28\.16\.5'
ok 'the unit is verified, man pages included' guest systemd-analyze verify "/usr/lib/systemd/system/$unit"
for one in wslmesh-online.target wslmesh-wait-online.service wslmesh-tunnel.service; do
    ok "$one is verified" guest systemd-analyze verify "/usr/lib/systemd/system/$one"
    is "$one is not enabled" "$(guest systemctl is-enabled $one)" static
done
ok 'the example of a unit that waits is verified' guest sh -c 'mkdir /run/verified && cp /usr/share/doc/wslmesh/examples/waits-for-tunnel.service /run/verified/ && systemd-analyze verify /run/verified/waits-for-tunnel.service'
exposure=$(guest systemd-analyze security --no-pager $unit | tail -n 1)
echo "# ${exposure#* }"
ok 'exposure is 2.3 or better' guest systemd-analyze security --no-pager --threshold=23 $unit
size=$(guest dpkg-query -W -f '${Installed-Size}' wslmesh)
echo "# installed size: $size kB"
ok 'installed size is below 10 MB' [ "$size" -lt 10240 ]
ok 'the network file has the address' within 10 network_file_has 'WSL_IP="172.28.16.5"'
ok 'man finds the pages' guest man -w 8 wslmesh
ok 'man finds the page of the configuration' guest man -w 5 wslmesh.toml

begun=$(date +%s%N)
for _ in 1 2 3 4 5 6 7 8 9 10; do guest wslmesh status >/dev/null; done
took=$((($(date +%s%N) - begun) / 10000000))
echo "# wslmesh status: $took ms, entering the guest included"
ok 'a user may read the status' as_user wslmesh status
has 'a user reads the address' "$(as_user wslmesh status)" '172\.28\.16\.5'
ok 'a user cannot restore' not as_user wslmesh restore
ok 'a user cannot apply' not as_user wslmesh apply
ok 'a user cannot stop the service' not as_user systemctl --no-ask-password stop $unit
ok 'a user cannot signal it' not as_user kill -HUP "$(main_pid)"
ok 'a user cannot write its files' not as_user sh -c "echo x >>$network_file"
ok 'it is still up' is_active
halt

# Elsewhere than in WSL2 the unit waits for nothing, until its drop-in is masked.
container=systemd-nspawn boot || exit 1
ok 'apt installs it on another machine' apt_get install "/packages/$deb"
ok 'it does not start there' state_is inactive
has 'the group exists, without members' "$(guest getent group wslmesh)" '^wslmesh:x:[0-9]+:$'
ok 'it is a system group' [ "$(guest getent group wslmesh | cut -d : -f 3)" -lt 1000 ]
is 'folders for hooks and drop-ins are there before the first start, root'"'"'s alone' \
    "$(guest stat -c '%a %U:%G %n' /etc/wslmesh/hooks.d/address-changed /etc/wslmesh/hooks.d/mesh-changed /etc/wslmesh/wslmesh.toml.d /run/wslmesh)" \
    "755 root:root /etc/wslmesh/hooks.d/address-changed
755 root:root /etc/wslmesh/hooks.d/mesh-changed
755 root:root /etc/wslmesh/wslmesh.toml.d
755 root:root /run/wslmesh"
is 'because of its condition' "$(property ConditionResult)" no
guest mkdir -p /etc/systemd/system/$unit.d
guest ln -s /dev/null /etc/systemd/system/$unit.d/10-wsl.conf
guest systemctl daemon-reload
guest systemctl start $unit
ok 'with the drop-in masked it runs' within 10 is_active
