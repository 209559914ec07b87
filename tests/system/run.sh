#!/bin/bash
# Boots a real systemd in a container of its own and tries the packages in it:
# installs them as an administrator does and looks with other programs than
# wslmesh at what happens.
#
#   tests/system/run.sh PACKAGES     a folder with the deb and the rpm (make packages)
#
# ONLY=20,30 in the environment picks scenarios by their number. Debian 12 runs all
# of them, Debian 13 those that say `# suites: bookworm trixie`; SUITE=trixie picks one.
# Ends with 0 (all passed), 1 (one failed) or 77 (no such guest can be had here;
# the last line says why). Changes nothing of the machine it runs on.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${WSLMESH_SYSTEM_DIR:-${CARGO_TARGET_DIR:-$here/../../target}/system}

cannot() {
    echo "the system tests cannot run: $*"
    exit 77
}
[ $# = 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
packages=$(cd "$1" && pwd)
[ "$(id -u)" = 0 ] || cannot "they need root, for a container with its own user namespace"
for tool in systemd-nspawn mmdebstrap nsenter unshare ip; do
    command -v "$tool" >/dev/null || cannot "$tool is missing (tools/setup.sh system installs it)"
done
unshare --user --net true 2>/dev/null || cannot "the kernel gives no user and network namespaces"

mkdir -p "$work"
work=$(cd "$work" && pwd)
run=$(mktemp -d "$work/run.XXXXXX")
cgroup=wslmesh-test-$$
first_id=$((1 << 20)) # as in rootfs.sh
results=$run/results
tun=$run/tun
: >"$results"
export LC_ALL=C.UTF-8
# shellcheck source=tests/system/lib.sh
. "$here/lib.sh"
# shellcheck source=tests/system/machine.sh
. "$here/machine.sh"
trap 'halt; rm -rf "$run"' EXIT
trap 'exit 1' INT TERM

(enter_cgroup) 2>/dev/null || cannot "no cgroup can be made here (a container without its own cgroups?)"
read -ra suites <<<"${SUITE:-bookworm trixie}"
# Side by side: most of it is waiting for a mirror.
making=()
for suite in "${suites[@]}"; do
    "$here/rootfs.sh" "$work" "$suite" >"$run/root-$suite" &
    making+=($!)
done
for maker in "${making[@]}"; do wait "$maker" || cannot "the guest's files could not be made (see above)"; done
use_suite() { suite=$1 root_of_guest=$(cat "$run/root-$1"); }
use_suite "${suites[0]}"
# A device node of its own: the machine's may be root's alone.
mknod -m 666 "$tun" c 10 200 || cannot "no device node can be made here"
scenario=boot
# shellcheck disable=SC2119
boot || cannot "a container with systemd does not boot here (see above)"
halt

deb=$(basename "$(ls "$packages"/wslmesh_*_amd64.deb)")
rpm=$(basename "$(ls "$packages"/wslmesh-*.x86_64.rpm)")
previous=$(basename "$(ls "$packages"/previous/wslmesh_*_amd64.deb)")
previous_rpm=$(basename "$(ls "$packages"/previous/wslmesh-*.x86_64.rpm)")
export deb rpm previous previous_rpm
started=$SECONDS
run_scenario() { # run_scenario FILE
    local begun status=0
    scenario=$suite-$(basename "$1" .sh)
    begun=$(date +%s%N)
    rm -rf "$run/share" "$run/layer"
    # In a shell of its own, so that a scenario's mistake ends that scenario alone.
    (
        trap 'halt' EXIT
        set +e
        # shellcheck disable=SC1090
        . "$1"
        true
    ) || status=$?
    [ "$status" = 0 ] || fail "ran to its end (status $status)" "$(tail -n 5 "$run/console")"
    echo "# $scenario: $((($(date +%s%N) - begun) / 1000000)) ms"
}

for each in "${suites[@]}"; do
    use_suite "$each"
    for file in "$here"/[0-9][0-9]-*.sh; do
        number=$(basename "$file")
        if [ -n "${ONLY:-}" ] && [[ ",$ONLY," != *",${number%%-*},"* ]]; then continue; fi
        says=$(sed -n 's/^# suites: //p' "$file")
        if [[ " ${says:-bookworm} " == *" $suite "* ]]; then run_scenario "$file"; fi
    done
done

passed=$(grep -c '^ok ' "$results" || true)
failed=$(grep -c '^not ok ' "$results" || true)
echo "system: $passed passed, $failed failed, $((SECONDS - started)) s"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
