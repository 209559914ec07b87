#!/bin/bash
# Tries the files of docs/fleet: the playbook, the journal's way to the collector, Prometheus'
# configuration. Nothing is installed, and everything listens on loopback of a namespace.
#
#   tests/fleet/run.sh WSLMESH
#
# Ends with 0, 77 (cannot run here; the last line says why) or a failure.
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
files=$PWD/docs/fleet
tools=${CARGO_TARGET_DIR:-target}/fleet
mkdir -p "$tools"
tools=$(realpath "$tools")

command -v ansible-playbook >/dev/null || { echo "fleet: no ansible-playbook here (tools/setup.sh fleet installs it)"; exit 77; }
command -v journalctl >/dev/null || { echo "fleet: no journalctl here"; exit 77; }
unshare -rn true 2>/dev/null || { echo "fleet: no user namespaces here"; exit 77; }
if [ ! -e "$tools/journal" ]; then
    command -v apt-get >/dev/null || { echo "fleet: only Debian's systemd-journal-remote is known here"; exit 77; }
    tmp=$(mktemp -d "$tools/download.XXXXXX")
    options=(-qq)
    # As root apt would give the download to its own user, who may not write here.
    [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
    microhttpd=$(apt-cache depends systemd-journal-remote | sed -n 's/ *Depends: \(libmicrohttpd.*\)/\1/p')
    if ! (cd "$tmp" && apt-get download "${options[@]}" systemd-journal-remote "$microhttpd" >&2); then
        rm -rf "$tmp"
        echo "fleet: apt-get download systemd-journal-remote failed (no network, or 'apt-get update' is due)"
        exit 77
    fi
    for package in "$tmp"/*.deb; do dpkg-deb -x "$package" "$tmp/tree"; done
    mv -T "$tmp/tree" "$tools/journal"
    rm -rf "$tmp"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export ANSIBLE_NOCOWS=1 ANSIBLE_HOME=$work/ansible ANSIBLE_LOCALHOST_WARNING=False
play() {
    # The nodes are folders of this machine.
    ansible-playbook -i "$files/inventory.ini" "$files/nodes.yml" --tags files -e ansible_connection=local \
        -e ansible_become=false -e ansible_python_interpreter=/usr/bin/python3 \
        -e "{\"root\": \"$work/{{ inventory_hostname }}\"}" >"$work/play" 2>&1 || { cat "$work/play"; exit 1; }
}
ansible-playbook -i "$files/inventory.ini" "$files/nodes.yml" --syntax-check >/dev/null
play
[ "$(grep -c 'changed=[1-9].* failed=0' "$work/play")" = 2 ] || { cat "$work/play"; exit 1; }
play
[ "$(grep -c 'changed=0 .* failed=0' "$work/play")" = 2 ] || { cat "$work/play"; exit 1; }
"$program" config check --config "$work/laptop-ben/etc/wslmesh/wslmesh.toml.d/50-fleet.toml"
grep -qF 10.10.0.12:9100 "$work/laptop-ben/etc/default/prometheus-node-exporter"
echo "ok - the playbook writes two nodes' files and changes nothing the second time"

cat >"$work/entry" <<END
__REALTIME_TIMESTAMP=1700000000000000
_BOOT_ID=0123456789abcdef0123456789abcdef
_MACHINE_ID=fedcba9876543210fedcba9876543210
_HOSTNAME=laptop-ben
_SYSTEMD_UNIT=wslmesh.service
SYSLOG_IDENTIFIER=wslmesh
WSLMESH_EVENT=pass
PRIORITY=6
MESSAGE=eth0 address 172.28.16.5 -> 172.28.27.77

END
mkdir "$work/sent" "$work/received"
journal=$tools/journal/lib/systemd
[ -d "$journal" ] || journal=$tools/journal/usr/lib/systemd
libraries=$(find "$tools/journal" -name 'libmicrohttpd.so*' -printf '%h\n' -quit):$(find /lib /usr/lib -name 'libsystemd-shared-*.so' -printf '%h\n' -quit 2>/dev/null)
cat >"$work/send" <<END
set -eu
export LD_LIBRARY_PATH=$libraries
ip link set lo up
$journal/systemd-journal-remote -o $work/sent/node.journal $work/entry
$journal/systemd-journal-remote --listen-http=127.0.0.1:19532 --output=$work/received & remote=\$!
trap 'kill \$remote; wait \$remote || true' EXIT
for try in \$(seq 20); do
    # It waits for more entries until it is ended.
    timeout 1 $journal/systemd-journal-upload --url=http://127.0.0.1:19532 --directory=$work/sent --save-state=$work/state || true
    if journalctl -D $work/received -u wslmesh WSLMESH_EVENT=pass -o cat --no-pager | grep -qxF 'eth0 address 172.28.16.5 -> 172.28.27.77'; then exit 0; fi
done
exit 1
END
unshare -rn sh "$work/send" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
echo "ok - an entry of a node's journal is found on the collector"

promtool=${CARGO_TARGET_DIR:-target}/prometheus/promtool
[ -x "$promtool" ] || { echo "fleet: run tests/metrics/run.sh first: it has promtool"; exit 77; }
cp "$files/prometheus.yml" docs/prometheus/wslmesh.rules.yml "$work"
"$promtool" check config "$work/prometheus.yml" >/dev/null
echo "ok - promtool reads the collector's configuration"
