#!/bin/bash
# The relay for Windows: built here, tested under wine.
#
#   tools/windows.sh check       print the toolchain
#   tools/windows.sh build       build the release wslmesh-relay.exe, check its size and imports
#   tools/windows.sh lint        clippy for the Windows target
#   tools/windows.sh test        the relay's tests under wine
#   tools/windows.sh has-std     exit status only, for tools/setup.sh
#   tools/windows.sh run PROGRAM [ARGUMENT...]
#                                one program under wine, as an ordinary user
#
# Everything is in target/windows: the build has fingerprints of another toolchain,
# and wine's prefix (700 MB) is made once.
# Exit status: 0, 77 (cannot run here; the last line has the reason) or another one
# (failed).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

triple=x86_64-pc-windows-gnu
gcc=x86_64-w64-mingw32-gcc
largest=1000000 # bytes of the .exe
deadline=900    # seconds for all tests; an idle machine needs 20

target=$(realpath -m "${CARGO_TARGET_DIR:-target}/windows")
release=$target/$triple/release/wslmesh-relay.exe
wine=$target/wine

cannot() {
    echo "the relay for Windows cannot be $1: $2" >&2
    exit 77
}

version_of() { "$1" --version 2>/dev/null | sed -n 's/^[a-z]* \([0-9][0-9.]*\).*/\1/p'; }

# Whether that rustc exists and is new enough.
is_good() {
    local needed
    needed=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
    command -v "$1" >/dev/null &&
        [ "$(printf '%s\n%s\n' "$needed" "$(version_of "$1")" | sort -V | head -n 1)" = "$needed" ]
}

# Sets std to "ready" or "source", and rustc to the compiler that has it: the
# first in PATH, or else the distribution's.
find_std() {
    local first libraries
    first=$(command -v "${RUSTC:-rustc}" || true)
    for rustc in "$first" /usr/bin/rustc; do
        is_good "$rustc" || continue
        libraries=$("$rustc" --print target-libdir --target "$triple")
        std=ready
        if compgen -G "$libraries/libstd-*.rlib" >/dev/null; then return 0; fi
    done
    for rustc in "$first" /usr/bin/rustc; do
        is_good "$rustc" || continue
        std=source
        if [ -e "$("$rustc" --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]; then return 0; fi
    done
    return 1
}

# Sets cargo and its environment.
find_toolchain() {
    command -v "$gcc" >/dev/null || cannot built "$gcc is missing (tools/setup.sh windows installs it)"
    find_std || cannot built "there is no standard library for $triple (tools/setup.sh windows installs it)"
    cargo=cargo
    if [ "$rustc" = /usr/bin/rustc ]; then cargo=/usr/bin/cargo; fi
    export RUSTC=$rustc CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=$gcc
    # Building the standard library needs a nightly compiler, or this variable.
    if [ "$std" = source ]; then export RUSTC_BOOTSTRAP=1; fi
}

# command_line STD_CRATES CARGO_COMMAND ARGUMENT...: sets line, which runs it for Windows.
command_line() {
    local crates=$1 command=$2
    shift 2
    line=("$cargo" "$command")
    # cargo would prefer the clippy of ~/.cargo/bin, of another compiler.
    if [ "$command" = clippy ] && [ "$cargo" != cargo ]; then line=(env "CARGO=$cargo" /usr/bin/cargo-clippy clippy); fi
    line+=(--locked --package wslmesh-relay --target "$triple" --target-dir "$target")
    if [ "$std" = source ]; then line+=(-Z "build-std=$crates"); fi
    line+=("$@")
}

# Fails if the .exe imports a DLL that is not part of Windows, such as the
# compiler's own.
check_imports() {
    local dll foreign=()
    while read -r dll; do
        case ${dll,,} in
            advapi32.dll | api-ms-win-*.dll | bcryptprimitives.dll | iphlpapi.dll | kernel32.dll | msvcrt.dll | ntdll.dll | ucrtbase.dll | userenv.dll | ws2_32.dll) ;;
            *) foreign+=("$dll") ;;
        esac
    done < <(x86_64-w64-mingw32-objdump -p "$release" | sed -n 's/^.*DLL Name: //p')
    if [ ${#foreign[@]} -gt 0 ]; then
        echo "$release imports DLLs that are not part of Windows: ${foreign[*]}" >&2
        return 1
    fi
}

build() {
    local size
    find_toolchain
    command_line std,panic_abort build --release
    "${line[@]}"
    size=$(stat -c %s "$release")
    echo "$release: $size bytes (below $largest), rustc $(version_of "$rustc"), standard library: $std"
    if [ "$size" -ge "$largest" ]; then
        echo "$release is too large" >&2
        return 1
    fi
    check_imports
}

lint() {
    find_toolchain
    if [ "$cargo" = cargo ]; then command -v cargo-clippy; else command -v /usr/bin/cargo-clippy; fi >/dev/null ||
        cannot linted "clippy is missing (tools/setup.sh lint windows installs it)"
    command_line std,panic_unwind,test clippy --all-targets -- -D warnings
    "${line[@]}"
}

# in_wine COMMAND...: runs it without access to the user's home, menu or screen.
in_wine() {
    mkdir -p "$wine/home"
    env -u DISPLAY -u WAYLAND_DISPLAY HOME="$wine/home" XDG_CONFIG_HOME="$wine/home" XDG_DATA_HOME="$wine/home" \
        XDG_CACHE_HOME="$wine/home" WINEPREFIX="$wine/prefix" WINEDEBUG=-all \
        WINEDLLOVERRIDES='winemenubuilder.exe,mscoree,mshtml=d' "$@"
}

job=
# Ends every Windows program of our prefix, and wine's server with them.
end_wine() {
    if [ -n "$job" ]; then kill "$job" 2>/dev/null || true; fi
    in_wine wineserver -k 2>/dev/null || true
    in_wine wineserver -w || true
}

# The stamp comes last: a prefix without it was interrupted.
make_prefix() {
    local stamp system
    stamp="$(in_wine wine --version) $(cksum <tests/wine/bcryptprimitives.c)"
    if [ "$(cat "$wine/prefix/wslmesh" 2>/dev/null)" = "$stamp" ]; then return 0; fi
    echo "windows: making a wine prefix in $wine"
    rm -rf "$wine/prefix"
    in_wine wine wineboot --init >"$wine/wineboot.log" 2>&1 || {
        cat "$wine/wineboot.log" >&2
        echo "windows: wineboot failed" >&2
        return 1
    }
    in_wine wineserver -w
    system=$wine/prefix/drive_c/windows/system32
    if [ ! -e "$system/bcryptprimitives.dll" ]; then
        "$gcc" -O2 -s -Wall -Wextra -Werror -shared -o "$system/bcryptprimitives.dll" tests/wine/bcryptprimitives.c -ladvapi32
    fi
    echo "$stamp" >"$wine/prefix/wslmesh"
}

# Prepares wine and our helpers; its server keeps running between two programs.
start_wine() {
    local tool
    [ "$(uname -m)" = x86_64 ] || cannot tested "wine runs x86_64 programs, this is $(uname -m)"
    for tool in wine wineserver "$gcc"; do
        command -v "$tool" >/dev/null || cannot tested "$tool is missing (tools/setup.sh windows wine installs it)"
    done
    mkdir -p "$wine"
    exec {lock}>"$wine/lock"
    flock "$lock" # two runs would kill each other's server
    trap end_wine EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    make_prefix
    "$gcc" -O2 -s -Wall -Wextra -Werror -o "$wine/unelevated.exe" tests/wine/unelevated.c -ladvapi32
    # After a kill -9 of this script it exits a minute after the last program. Its
    # output is only about resources of killed programs.
    in_wine wineserver -p60 {lock}>&- >/dev/null 2>&1
    export WSLMESH_WINE_IS_UP=yes
}

# In the background, so that a signal to this script takes effect at once.
in_background() {
    local status=0
    "$@" {lock}>&- &
    job=$!
    wait "$job" || status=$?
    job=
    return "$status"
}

run() {
    if [ -z "${WSLMESH_WINE_IS_UP:-}" ]; then
        start_wine
        in_wine wine "$wine/unelevated.exe" "$@" {lock}>&-
    else
        in_wine wine "$wine/unelevated.exe" "$@"
    fi
}

# A plain start under wine is elevated, which a test cannot do itself.
check_elevation() {
    local status=0 output
    output=$(in_wine wine "$1" </dev/null 2>&1) || status=$?
    if [ "$status" = 0 ] || ! [[ $output = *elevated* ]]; then
        echo "an elevated ${1#"$PWD"/} must refuse to run: exit status $status, output: $output" >&2
        return 1
    fi
    status=0
    output=$(run "$1" </dev/null 2>&1) || status=$?
    if [ "$status" != 0 ]; then
        echo "${1#"$PWD"/} of an ordinary user must exit with 0 at the end of its input: exit status $status, output: $output" >&2
        return 1
    fi
    echo "${1#"$PWD"/}: refuses when elevated, runs for an ordinary user"
}

run_tests() {
    local program status=0
    find_toolchain
    start_wine
    # A path with a slash is relative to this folder, even if that has blanks in its name.
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER='tools/windows.sh run'
    command_line std,panic_unwind,test test --no-fail-fast --lib --test relay
    in_background timeout --kill-after=10 "$deadline" "${line[@]}" </dev/null || {
        status=$?
        if [ "$status" = 124 ]; then echo "the tests under wine took longer than $deadline s" >&2; fi
    }
    for program in "$target/$triple"/{debug,release}/wslmesh-relay.exe; do
        if [ -e "$program" ]; then check_elevation "$program" || status=1; fi
    done
    return "$status"
}

word=${1:-}
if [ $# -gt 0 ]; then shift; fi
case $word in
    has-std) find_std ;;
    check)
        find_toolchain
        echo "$cargo, rustc $(version_of "$rustc"), standard library: $std"
        ;;
    build) build ;;
    lint) lint ;;
    test) run_tests ;;
    run) run "$@" ;;
    *)
        echo "windows: unknown command '$word': use check, build, lint, test, has-std or run" >&2
        exit 2
        ;;
esac
