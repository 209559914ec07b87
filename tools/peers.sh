#!/bin/bash
# Brings the userspace networks that the tunnel is compared with: gvproxy, passt and
# slirp4netns, unpacked into target/tools/peers, not installed.
#
#   tools/peers.sh
#
# They are Debian's of the newest suite that this machine can be given: with their own C
# library beside them, what this machine has does not matter. Lists and cache of apt are
# private. Silent when they are there. Ends with 77 where they cannot be had; the last line
# says why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

peers=${CARGO_TARGET_DIR:-target}/tools/peers
suites=(sid trixie)
programs=(gvproxy passt slirp4netns)
libraries=(libc6 libgcc-s1 libglib2.0-0t64 libslirp0 libseccomp2 libpcre2-8-0 zlib1g libffi8 libatomic1)

[ ! -e "$peers/suite" ] || exit 0
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    echo "peers: only Debian's gvproxy, passt and slirp4netns are known here"
    exit 77
fi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
if [ ! -e "$keyring" ]; then
    echo "peers: $keyring is absent (package debian-archive-keyring)"
    exit 77
fi
mkdir -p "$(dirname "$peers")"
work=$(mktemp -d "$(realpath "$(dirname "$peers")")/peers.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The mirror that this machine uses, where it is Debian's.
# shellcheck disable=SC2016 # apt's own words
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -m 1 'debian\.org/debian$' || true)

from() { # from SUITE
    local suite=$1 options
    mkdir -p "$work/$suite/lists/partial" "$work/$suite/cache/archives/partial" "$work/$suite/debs" "$work/$suite/tree/bin"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
        "${mirror:-http://deb.debian.org/debian}" "$suite" "$keyring" >"$work/$suite/peers.sources"
    options=(-qq -o "Dir::Etc::sourcelist=$work/$suite/peers.sources" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$work/$suite/lists" -o "Dir::Cache=$work/$suite/cache" -o Acquire::Languages=none)
    # As root apt would give the download to its own user, who may not write here.
    [ "$(id -u)" != 0 ] || options+=(-o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2 || return 1
    (cd "$work/$suite/debs" && apt-get "${options[@]}" download "${programs[@]}" "${libraries[@]}" >&2) || return 1
    local deb program loader tree=$work/$suite/tree
    for deb in "$work/$suite/debs"/*.deb; do dpkg-deb -x "$deb" "$tree"; done
    loader=$(cd "$tree" && find usr/lib -name 'ld-linux*.so.*' -print -quit)
    [ -n "$loader" ] || return 1
    for program in "${programs[@]}"; do
        # shellcheck disable=SC2016 # the new script's words
        printf '#!/bin/sh\ntop=$(dirname "$0")/..\nexec "$top/%s" --library-path "$top/%s" "$top/usr/bin/%s" "$@"\n' \
            "$loader" "$(dirname "$loader")" "$program" >"$tree/bin/$program"
        chmod 755 "$tree/bin/$program"
        "$tree/bin/$program" --version >/dev/null 2>&1 || return 1
    done
    # passt would look for it beside its own program, which is the loader here.
    if [ -x "$tree/usr/bin/passt.avx2" ] && grep -qw avx2 /proc/cpuinfo; then
        sed -i 's|/usr/bin/passt"|/usr/bin/passt.avx2"|' "$tree/bin/passt"
    fi
    rm -rf "${tree:?}/usr/share" "${tree:?}/etc"
    echo "$suite" >"$tree/suite"
}

for suite in "${suites[@]}"; do
    echo "peers: gvproxy, passt and slirp4netns of Debian $suite, into $peers" >&2
    if from "$suite"; then
        # Two runs may get here at once; the first one's tree is as good.
        mv -T "$work/$suite/tree" "$peers" 2>/dev/null || [ -e "$peers/suite" ]
        exit 0
    fi
done
echo "peers: gvproxy, passt and slirp4netns could not be downloaded (no network?)"
exit 77
