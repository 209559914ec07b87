#!/bin/bash
# The system tests that need a kernel of their own: WireGuard, the sysctls of the
# whole machine, its clock, its cables, limits of memory, a real boot.
#
#   tests/system/vm/run.sh PACKAGES     a folder with the deb (make packages)
#
# Each scenario gets a guest in QEMU that is restored from a saved state within
# a second: Debian 12 (systemd 252, Linux 6.1) in bookworm/, Debian 13 (257, 6.12) in
# trixie/. The guest is made once, below target/system; 00-install.sh is run
# first in each, and what it leaves is saved for the others.
#
# ONLY=20,30 in the environment picks scenarios by their number.
# Ends with 0 (all passed), 1 (one failed) or 77 (no such guest can be had here;
# the last line says why). Changes nothing of the machine it runs on.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${WSLMESH_SYSTEM_DIR:-${CARGO_TARGET_DIR:-$here/../../../target}/system}
deadline=${WSLMESH_VM_DEADLINE:-400} # seconds for one scenario; about 30 are needed, on a busy machine ten times that

cannot() {
    echo "the system tests in a VM cannot run: $*"
    exit 77
}
[ $# = 1 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
packages=$(cd "$1" && pwd)
[ "$(uname -m)" = x86_64 ] || cannot "they are written for x86_64, this is $(uname -m)"
[ "$(id -u)" = 0 ] || cannot "they need root, to unpack a Debian"
for tool in qemu-system-x86_64 busybox mke2fs depmod dpkg-deb apt-get mmdebstrap systemd-nspawn nsenter unshare setpriv python3; do
    command -v "$tool" >/dev/null || cannot "$tool is missing (tools/setup.sh vm system installs it)"
done
! ldd "$(command -v busybox)" >/dev/null 2>&1 || cannot "busybox needs libraries; install busybox-static"
unshare --user true 2>/dev/null || cannot "the kernel gives no user namespaces"

mkdir -p "$work"
work=$(cd "$work" && pwd)
run=$(mktemp -d "$work/vm-run.XXXXXX")
machine='' # vm.py, which ends its QEMU
trap 'if [ -n "$machine" ]; then kill "$machine" 2>/dev/null || true; wait "$machine" 2>/dev/null || true; fi; rm -rf "$run"' EXIT
trap 'exit 1' INT TERM
export LC_ALL=C.UTF-8 TMPDIR=$run CONSOLE=$run/console

# What two runs at once would make twice.
folder_of() {
    flock "$work" "$here/build.sh" "$work" "$1"
}

# one FILE FOLDER run|keep: one scenario in a guest of its own, which is FOLDER's.
one() {
    local scenario folder=$2 begun status=0 job=$run/job
    scenario=$(basename "$1" .sh)
    begun=$(date +%s%N)
    rm -rf "$job"
    mkdir -p "$job/packages"
    ln -s "$packages"/wslmesh_*_amd64.deb "$job/packages/"
    ln -s "$here/../lib.sh" "$here/guest/job.sh" "$job/"
    ln -s "$1" "$job/scenario.sh"
    echo "$scenario" >"$job/name"
    tar -C "$job" -chf "$run/job.tar" .
    truncate -s 64M "$run/job.tar" # as vm.py has it
    : >"$run/output"
    # In the background, all of it: a shell takes signals only while it waits.
    python3 "$here/vm.py" "$3" "$folder" "$run/job.tar" "$deadline" >"$run/output" 2>"$run/qemu" </dev/null &
    machine=$!
    tail -f --pid "$machine" -s 0.1 -n +1 "$run/output" &
    local printer=$!
    wait "$machine" || status=$?
    machine=''
    wait "$printer" || true
    cat "$run/output" >>"$run/results"
    if [ "$status" != 0 ]; then
        echo "not ok $scenario: ran to its end (status $status)" | tee -a "$run/results"
        { cat "$run/qemu"; tail -n 25 "$run/console"; } | sed 's/^/#   /'
    fi
    echo "# $scenario: $((($(date +%s%N) - begun) / 1000000)) ms"
}

: >"$run/results"
started=$SECONDS
for suite in bookworm trixie; do
    files=()
    for file in "$here/$suite"/[0-9][0-9]-*.sh; do
        name=$(basename "$file")
        if [ -z "${ONLY:-}" ] || [[ ",$ONLY," == *",${name%%-*},"* ]]; then files+=("$file"); fi
    done
    [ "${#files[@]}" -gt 0 ] || continue
    begun=$SECONDS
    saved=$(folder_of "$suite") || cannot "the guest could not be made (see above)"
    echo "# $suite: the guest was there after $((SECONDS - begun)) s"
    # The guest after the installation is what the others begin with. The files are held
    # by further names: a run of another recipe removes the old folder.
    guest=$run/$suite
    mkdir "$guest"
    ln "$saved"/{vmlinuz,initrd,root.ext4,state} "$guest/"
    cp --sparse=always "$saved/scratch.ext4" "$guest/"
    one "$here/00-install.sh" "$guest" keep
    for file in "${files[@]}"; do one "$file" "$guest" run; done
    rm -rf "$guest"
done

passed=$(grep -c '^ok ' "$run/results" || true)
failed=$(grep -c '^not ok ' "$run/results" || true)
echo "system vm: $passed passed, $failed failed, $((SECONDS - started)) s"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
