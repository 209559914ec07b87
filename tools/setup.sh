#!/bin/bash
# Installs what a Makefile target needs and this machine lacks, from the
# distribution's own packages (Debian, Ubuntu, Fedora).
#
#   tools/setup.sh WHAT...
#
#   build   Rust (1.89 or newer) with cargo, a C compiler and linker
#   lint    rustfmt, clippy, shellcheck
#   lab     ip, wg, a userspace WireGuard, a D-Bus daemon and programs of container engines
#           for the simulated WSL
#   shells  zsh and fish, whose completions are tested
#   pictures  Python and script(1), which capture a terminal
#   bench   socat and iperf3, to compare and measure the relay
#   vm      QEMU and the tools to build its guest
#   windows a compiler and the standard library to build the relay for Windows
#   wine    wine, to run it
#   aarch64 a compiler and the standard library for aarch64, and QEMU to run its programs
#   packages  the tools to build a deb and an rpm
#   metrics  what tests/metrics needs beside Prometheus, which it downloads
#   fleet   Ansible, for the playbook of docs/fleet
#   system  the tools to check them and boot systemd in a container (with vm: in QEMU)
#
# Silent and fast when nothing is missing. Calls apt-get or dnf with sudo and nothing
# else.
set -euo pipefail

rust_needed=1.89
windows_target=x86_64-pc-windows-gnu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Where iproute2's and others' programs are, which Debian keeps from users.
PATH=$PATH:/usr/sbin:/sbin

packages=() # to install
missing=()  # what they provide, for messages

have() { command -v "$1" >/dev/null 2>&1; }
have_apt() { have apt-get; }
have_dnf() { have dnf; }

# need COMMAND APT_PACKAGE DNF_PACKAGE; "-" where a distribution has none.
need() {
    if have "$1"; then return 0; fi
    missing+=("$1")
    local package=$3
    if have_apt; then package=$2; fi
    if [ "$package" != - ]; then packages+=("$package"); fi
}

at_least() { # at_least VERSION WANTED
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

version_of() { "$1" --version 2>/dev/null | sed -n 's/^[a-z]* \([0-9][0-9.]*\).*/\1/p'; }

rust_is_good() {
    have cargo && have rustc && at_least "$(version_of rustc)" "$rust_needed" && at_least "$(version_of cargo)" "$rust_needed"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        echo "setup: sudo $*" >&2
        sudo "$@"
    else
        # Every further try would fail alike.
        echo "setup: no sudo here; as root: $*" >&2
        exit 1
    fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@"
}

updated=no
apt_update() {
    if [ "$updated" = yes ]; then return 0; fi
    updated=yes
    apt update >&2
}

# Whether apt could install PACKAGE, at least in VERSION where one is given.
apt_offers() {
    local candidate
    candidate=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p')
    [ -n "$candidate" ] && [ "$candidate" != '(none)' ] || return 1
    [ -z "${2:-}" ] || at_least "${candidate#*:}" "$2"
}

# Package lists are absent on a fresh container and may know nothing yet.
apt_lists() {
    if ! apt_offers make; then apt_update; fi
}

rust_help() {
    {
        echo "setup: Rust $rust_needed or newer is needed${1:+; $1}."
        echo "setup: install it with rustup (https://rustup.rs), then run this again."
    } >&2
    exit 1
}

# Old distributions carry Rust under further names. In this order: the plain
# package where it is new enough, Debian 12's cargo-web (kept new for browsers),
# a versioned one as Ubuntu has them, the distribution's own rustup.
rust_from_apt() {
    apt_lists
    local version
    if apt_offers rustc "$rust_needed" && apt_offers cargo "$rust_needed"; then
        packages+=(rustc cargo)
        [ "$1" = no ] || packages+=(rustfmt rust-clippy)
    elif apt_offers rustc-web "$rust_needed" && apt_offers cargo-web "$rust_needed"; then
        packages+=(rustc-web cargo-web)
        [ "$1" = no ] || packages+=(rustfmt-web rust-web-clippy)
    elif apt_offers rustup; then
        packages+=(rustup)
        wants_toolchain=yes
    else
        version=$(version_of rustc)
        rust_help "here is ${version:-none}, and apt has nothing newer"
    fi
}

wants_toolchain=no
need_rust() { # need_rust yes|no: with rustfmt and clippy?
    if rust_is_good; then
        if [ "$1" = no ] || { have cargo-clippy && have rustfmt; }; then return 0; fi
        # The same source that Rust came from has its tools.
        if have rustup; then
            rustup component add rustfmt clippy >&2
            return 0
        fi
    fi
    if have rustup; then
        wants_toolchain=yes
        return 0
    fi
    missing+=("Rust $rust_needed")
    if have_apt; then
        rust_from_apt "$1"
    elif have_dnf; then
        packages+=(rust cargo)
        [ "$1" = no ] || packages+=(rustfmt clippy)
    fi
}

# rustup has the standard library for Windows ready made. So have distributions
# for their own compiler; Debian 12 has its source.
wants_target=no
need_windows_std() {
    if "$here/windows.sh" has-std; then return 0; fi
    if [ "$wants_toolchain" = yes ]; then
        wants_target=yes # once it is installed
        return 0
    fi
    if have rustup; then
        echo "setup: rustup target add $windows_target" >&2
        if rustup target add "$windows_target" >&2; then return 0; fi
    fi
    missing+=("Rust's standard library for $windows_target")
    if have_apt; then
        apt_lists
        if apt_offers rustc-web "$rust_needed"; then
            packages+=(rustc-web cargo-web rust-web-src rust-web-clippy)
        elif apt_offers rustc "$rust_needed"; then
            packages+=(rustc cargo libstd-rust-dev-windows rust-clippy)
        fi
    elif have_dnf; then
        packages+=(rust cargo clippy "rust-std-static-$windows_target")
    fi
}

# The same for aarch64; Fedora has no C library to link with there.
need_aarch64_std() {
    if "$here/aarch64.sh" has-std; then return 0; fi
    if have rustup && rustup target add aarch64-unknown-linux-gnu >&2; then return 0; fi
    missing+=("Rust's standard library for aarch64")
    if have_apt; then
        apt_lists
        if apt_offers rustc-web "$rust_needed"; then packages+=(rustc-web cargo-web rust-web-src rust-web-clippy); fi
    fi
}

for what in "$@"; do
    case $what in
        build)
            need_rust no
            need cc gcc gcc
            if have_apt && [ ! -e /usr/include/stdlib.h ]; then
                missing+=("libc headers")
                packages+=(libc6-dev)
            fi
            ;;
        lint)
            need_rust yes
            need shellcheck shellcheck ShellCheck
            ;;
        lab)
            need ip iproute2 iproute
            need ping iputils-ping iputils
            need sysctl procps procps-ng
            need mount mount util-linux
            need wg wireguard-tools wireguard-tools
            need dbus-daemon dbus dbus-daemon
            need strace strace strace
            need nft nftables nftables
            # Fedora has no userspace WireGuard; its kernel's serves there.
            if have_apt; then need wireguard-go wireguard-go -; fi
            # How container engines publish ports. Ubuntu 22.04 has no netavark.
            need iptables iptables iptables-nft
            if have_apt; then
                need /usr/lib/cni/portmap containernetworking-plugins -
                if ! have /usr/lib/podman/netavark; then
                    apt_lists
                    if apt_offers netavark; then need /usr/lib/podman/netavark netavark -; fi
                fi
            else
                need /usr/libexec/cni/portmap - containernetworking-plugins
                need /usr/libexec/podman/netavark - netavark
            fi
            ;;
        shells)
            need zsh zsh zsh
            need fish fish fish
            ;;
        pictures)
            need python3 python3 python3
            need script bsdutils util-linux-script
            ;;
        bench)
            need socat socat socat
            need iperf3 iperf3 iperf3
            ;;
        vm)
            need qemu-system-x86_64 qemu-system-x86 qemu-system-x86-core
            need busybox busybox-static busybox
            need depmod kmod kmod
            need ip iproute2 iproute
            need wg wireguard-tools wireguard-tools
            need nft nftables nftables
            need chattr e2fsprogs e2fsprogs
            # Debian's plain busybox needs libraries that the guest has not.
            if have_apt && have busybox && ldd "$(command -v busybox)" >/dev/null 2>&1; then
                missing+=("static busybox")
                packages+=(busybox-static)
            fi
            # The guest's kernel is looked up in the lists; an empty folder has none.
            if have_apt && ! compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null; then apt_update; fi
            ;;
        windows)
            need x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64 mingw64-gcc
            need_windows_std
            ;;
        wine)
            need x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64 mingw64-gcc
            need wine wine wine-core
            need wineserver wine wine-core
            ;;
        aarch64)
            need aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu gcc-aarch64-linux-gnu
            need qemu-aarch64 qemu-user qemu-user
            if have_apt && [ ! -e /usr/aarch64-linux-gnu/include/stdlib.h ]; then
                missing+=("libc headers for aarch64")
                packages+=(libc6-dev-arm64-cross)
            fi
            need_aarch64_std
            ;;
        packages)
            need objdump binutils binutils
            need python3 python3 python3
            need rpmbuild rpm rpm-build
            if have_apt; then need dpkg-deb dpkg -; fi
            ;;
        metrics)
            need python3 python3 python3
            need unshare util-linux util-linux
            need ip iproute2 iproute
            ;;
        fleet)
            need ansible-playbook ansible-core ansible-core
            need journalctl systemd systemd
            need unshare util-linux util-linux
            need ip iproute2 iproute
            ;;
        system)
            need systemd-nspawn systemd-container systemd-container
            need mmdebstrap mmdebstrap mmdebstrap
            need nsenter util-linux util-linux
            need ip iproute2 iproute
            need mke2fs e2fsprogs e2fsprogs
            need python3 python3 python3
            need rpmlint rpmlint rpmlint
            need dnf dnf dnf
            need createrepo_c createrepo-c createrepo_c
            need groff groff-base groff-base
            if have_apt; then need lintian lintian -; fi
            ;;
        *)
            echo "setup: '$what' is none of build, lint, lab, shells, pictures, bench, vm, windows, wine, aarch64, packages, metrics, fleet, system" >&2
            exit 2
            ;;
    esac
done

if [ ${#packages[@]} -gt 0 ]; then
    # One package may serve several wants.
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    echo "setup: installing ${packages[*]}" >&2
    if have_apt; then
        apt_lists
        # An old list names files that the mirror no longer has.
        apt install -y --no-install-recommends "${packages[@]}" >&2 || {
            apt_update
            apt install -y --no-install-recommends "${packages[@]}" >&2
        }
    elif have_dnf; then
        as_root dnf install -y -q --setopt=install_weak_deps=False "${packages[@]}" >&2
    else
        echo "setup: this machine has neither apt-get nor dnf; install by hand: ${missing[*]}" >&2
        exit 1
    fi
elif [ ${#missing[@]} -gt 0 ]; then
    echo "setup: install by hand, no package is known here for: ${missing[*]}" >&2
    exit 1
fi

if [ "$wants_toolchain" = yes ]; then
    echo "setup: rustup installs the current stable Rust for $(id -un)" >&2
    rustup toolchain install stable --profile minimal --component rustfmt --component clippy >&2
    rustup default >/dev/null 2>&1 || rustup default stable >&2
    if [ "$wants_target" = yes ]; then rustup target add "$windows_target" >&2; fi
fi
case " $* " in
    *' build '* | *' lint '*)
        hash -r
        rust_is_good || rust_help "rustc here: $(command -v rustc || echo none) $(version_of rustc || true)"
        ;;
esac
case " $* " in
    *' windows '*)
        "$here/windows.sh" has-std || {
            echo "setup: no standard library for $windows_target: 'rustup target add $windows_target' installs it" >&2
            exit 1
        }
        ;;
esac
