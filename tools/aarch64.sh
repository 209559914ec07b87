#!/bin/bash
# The programs for aarch64, as far as another machine can test them: compiling, linking,
# and what runs under QEMU's user mode, which has the kernel of the machine it is on.
# Lints are left out: the code has no line of its own for aarch64.
#
#   tools/aarch64.sh test       builds the programs, links them and starts each
#   tools/aarch64.sh has-std    nothing but its status: tools/setup.sh asks
#
# Everything lies in target/aarch64. Ends with 0, with 77 (cannot run here; the last
# line says why) or with another status (it failed).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

triple=aarch64-unknown-linux-gnu
gcc=aarch64-linux-gnu-gcc
target=$(realpath -m "${CARGO_TARGET_DIR:-target}/aarch64")

cannot() {
    echo "aarch64 cannot be $1: $2" >&2
    exit 77
}

has_std() { # has_std RUSTC: the standard library, ready made
    command -v "$1" >/dev/null && compgen -G "$("$1" --print target-libdir --target "$triple")/libstd-*.rlib" >/dev/null
}

# Sets line to cargo's command line for aarch64, with the standard library ready
# made or built from the source that Debian's compiler brings.
command_line() {
    local command=$1
    shift
    if has_std rustc; then
        line=(cargo "$command")
    elif [ -e /usr/lib/rustlib/src/rust/library/std/Cargo.toml ] && [ -x /usr/bin/cargo ]; then
        export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
        line=(/usr/bin/cargo "$command")
        set -- -Z build-std=std,panic_unwind,test "$@"
    else
        cannot tested "there is no standard library for $triple (tools/setup.sh aarch64 installs it)"
    fi
    line+=(--locked --target "$triple" --target-dir "$target" "$@")
}

run_tests() {
    local qemu program
    # The relay's tests start an aarch64 program by its name, which only a machine with
    # a binfmt_misc entry for it can; no test makes one.
    command -v "$gcc" >/dev/null || cannot tested "$gcc is missing (tools/setup.sh aarch64 installs it)"
    if [ "$(uname -m)" = aarch64 ]; then
        qemu=()
    else
        command -v qemu-aarch64 >/dev/null || cannot tested "qemu-aarch64 is missing (tools/setup.sh aarch64 installs it)"
        qemu=(qemu-aarch64 -L /usr/aarch64-linux-gnu)
    fi
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$gcc
    command_line build
    "${line[@]}"
    program=$target/$triple/debug/wslmesh
    "${qemu[@]}" "$program" --version
    "${qemu[@]}" "$program" config show >/dev/null
    "${qemu[@]}" "$program" forward list
    # It says that it is ready, and ends with its input.
    "${qemu[@]}" "${program}-relay" </dev/null | grep '"version"'
    echo "aarch64: the programs are linked and start"
}

case ${1:-} in
    has-std) has_std rustc || [ -e /usr/lib/rustlib/src/rust/library/std/Cargo.toml ] ;;
    test) run_tests ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
        exit 2
        ;;
esac
