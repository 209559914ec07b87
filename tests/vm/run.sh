#!/bin/bash
# Boots a real kernel in QEMU and runs the guest scenarios in it: the kernel's
# WireGuard and net.core sysctls, which no network namespace can offer.
#
#   tests/vm/run.sh WSLMESH RELAY LAB   all scenarios, with these programs; LAB is
#                                       the program of tests/lab/
#   tests/vm/run.sh WSLMESH             all that need no lab
#   tests/vm/run.sh                     only those that need nothing of ours (is the VM sound?)
#
# ONLY=20,30 in the environment picks scenarios by their number; the first, 10, is always run.
# SLEEPS=20 is how often 90 has the guest sleep.
# Ends with 0 (all passed), 1 (one failed, or the guest did not finish) or
# 77 (the VM cannot be had here; the last line on standard error says why).
# Needs no root: the guest is made of files, and everything runs inside it.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps ip and depmod from users

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${WSLMESH_VM_DIR:-${CARGO_TARGET_DIR:-$here/../../target}/vm}
deadline=${WSLMESH_VM_DEADLINE:-600} # seconds of wall time; a machine with nothing else to do needs about 150

cannot() {
    echo "the VM test cannot run: $*" >&2
    exit 77
}

for program in "$@"; do
    if [ ! -x "$program" ] || [ -d "$program" ]; then
        echo "${program:-(nothing)} is not an executable file; build it with 'make build' first" >&2
        exit 1
    fi
done
[ "$(uname -m)" = x86_64 ] || cannot "it is written for x86_64, this is $(uname -m)"
for tool in qemu-system-x86_64 busybox chattr depmod ip nft ss wg ldd timeout; do
    command -v "$tool" >/dev/null || cannot "$tool is missing (tools/setup.sh vm installs it)"
done

mkdir -p "$work"
work=$(cd "$work" && pwd)
tree=$("$here/kernel.sh" "$work") || cannot "no kernel with WireGuard could be had (see above)"
run=$(mktemp -d "$work/run.XXXXXX")
trap 'rm -rf "$run"' EXIT
"$here/image.sh" "$tree" "$run/initramfs" "$@"

# The accelerator is always TCG: a nested KVM may exist and yet not boot a
# stock kernel. cx16 is off because TCG in QEMU 7.2 corrupts the flags on a
# plain cmpxchg16b, on which newer kernels fall over.
started=$(date +%s)
status=0
timeout --foreground "$deadline" qemu-system-x86_64 \
    -M q35 -accel tcg,thread=multi -cpu max,-cx16 -smp 2 -m 512 \
    -nodefaults -no-user-config -display none -no-reboot -nic none \
    -kernel "$tree/vmlinuz" -initrd "$run/initramfs" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off audit=0 only=${ONLY:-} sleeps=${SLEEPS:-3}" \
    -serial "file:$run/console" -serial "file:$run/tap" </dev/null >"$run/qemu" 2>&1 || status=$?

tap=$run/tap
[ -s "$tap" ] || : >"$tap"
cat "$tap"
passed=$(grep -c '^ok ' "$tap" || true)
failed=$(grep -c '^not ok ' "$tap" || true)
planned=$(sed -n 's/^1\.\.\([0-9][0-9]*\)$/\1/p' "$tap")
verdict=$(sed -n 's/^# exit \([0-9][0-9]*\)$/\1/p' "$tap")
took=$(($(date +%s) - started))

# A guest that stopped half-way has printed only good lines so far. So the plan
# at the end, the count and the guest's own verdict must agree.
if [ "$status" = 0 ] && [ "$verdict" = 0 ] && [ "$failed" = 0 ] \
    && [ "$passed" -gt 0 ] && [ "$planned" = "$passed" ]; then
    echo "# Linux $(cat "$tree/version"), ${took} s"
    echo "vm: $passed passed, 0 failed"
    exit 0
fi
cp "$run/console" "$work/console.log" 2>/dev/null || true
cat "$run/qemu" >&2
echo "--- the guest's console, last lines (all of it: $work/console.log)" >&2
tail -n 25 "$run/console" >&2 || true
if [ "$status" = 124 ]; then
    echo "vm: the guest was still running after $deadline s" >&2
elif [ -z "$verdict" ]; then
    echo "vm: the guest ended without a verdict (qemu's exit status $status)" >&2
fi
echo "# Linux $(cat "$tree/version"), ${took} s"
echo "vm: $passed passed, $failed failed"
exit 1
