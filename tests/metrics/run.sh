#!/bin/bash
# The numbers as Prometheus reads them: each alert of docs/prometheus on its cause in a day of
# simulated numbers, a real agent's file read back by node_exporter, the dashboard's queries.
#
#   tests/metrics/run.sh WSLMESH
#
# Debian's prometheus and prometheus-node-exporter are downloaded and unpacked into the target
# folder, not installed: their packages would start services. Everything listens on loopback of
# a network namespace. Ends with 0, 77 (cannot run here; the last line says why) or a failure.
set -euo pipefail
program=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=${CARGO_TARGET_DIR:-target}/prometheus
mkdir -p "$tools"
tools=$(realpath "$tools")

unpack() { # unpack PACKAGE FILE...
    local tmp package=$1
    shift
    [ ! -x "$tools/$1" ] || return 0
    command -v apt-get >/dev/null || { echo "metrics: only Debian's Prometheus is known here"; exit 77; }
    tmp=$(mktemp -d "$tools/download.XXXXXX")
    local options=(-qq)
    # As root apt would give the download to its own user, who may not write here.
    [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
    if ! (cd "$tmp" && apt-get download "${options[@]}" "$package" >&2); then
        rm -rf "$tmp"
        echo "metrics: apt-get download $package failed (no network, or 'apt-get update' is due)"
        exit 77
    fi
    dpkg-deb -x "$tmp/$package"_*.deb "$tmp/tree"
    for file in "$@"; do mv -T "$tmp/tree/usr/bin/$file" "$tools/$file"; done
    rm -rf "$tmp"
}
unpack prometheus promtool prometheus
unpack prometheus-node-exporter prometheus-node-exporter
unshare -rn true 2>/dev/null || { echo "metrics: no user namespaces here"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rules=$PWD/docs/prometheus/wslmesh.rules.yml

python3 tests/metrics/day.py names "$rules" docs/grafana/wslmesh.json >"$work/used"
while read -r name; do
    case $name in
        wslmesh_*) grep -qF "| \`$name\` |" docs/metrics.md || { echo "$name is in no table of docs/metrics.md"; exit 1; } ;;
        node_textfile_mtime_seconds | node_exporter) ;;
        *) echo "$name is no metric of the agent's"; exit 1 ;;
    esac
done <"$work/used"
echo "ok - the agent exports all $(grep -c ^wslmesh_ "$work/used") metrics that rules and dashboard use"

"$tools/promtool" check rules "$rules"
day() { # day BASE FILE
    WSLMESH_METRICS_DAY=$1:$2 cargo test --quiet --locked --lib day_has_every_cause >"$work/cargo.log" 2>&1 \
        || { cat "$work/cargo.log"; exit 1; }
}
day 0 "$work/day"
python3 tests/metrics/day.py rules "$work/day" "$rules" >"$work/test.yml"
"$tools/promtool" test rules "$work/test.yml"
echo "ok - each alert fires on its cause, and on nothing else"

echo "$(($(date +%s) - 90000))" >"$work/base"
day "$(cat "$work/base")" "$work/day"
python3 tests/metrics/day.py samples "$work/day" >"$work/day.om"
"$tools/promtool" tsdb create-blocks-from openmetrics --quiet "$work/day.om" "$work/tsdb"
unshare -rn python3 tests/metrics/live.py "$program" "$tools" "$work"
