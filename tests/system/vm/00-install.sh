# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (job.sh and lib.sh set the names)
# The deb as a stranger installs it. The other scenarios begin where this one ends.
is 'systemd takes the machine for WSL' "$(systemd-detect-virt)" wsl
echo "# $(systemctl --version | head -n 1), Linux $(uname -r)"
# For 50-remove: the machine as it was.
mkdir -p /run/before
facts >/run/before/facts
begun=$(date +%s%N)
ok 'apt installs the deb' apt_get install "/packages/$deb"
echo "# apt took $((($(date +%s%N) - begun) / 1000000)) ms"
ok 'the service is up' within 20 is_active
is 'it is enabled' "$(guest systemctl is-enabled $unit)" enabled
has 'systemd saw READY and a status' "$(guest systemctl status --no-pager $unit)" 'Status: "172\.28\.16\.5'
ok 'the network file has the address' within 20 network_file_has 'WSL_IP="172.28.16.5"'
ok 'the status is healthy' guest wslmesh status
has 'it takes the machine for WSL2 with NAT' "$(guest wslmesh status)" 'mode: nat'
