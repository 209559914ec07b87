#!/bin/bash
# Runs cargo-deny with deny.toml: licences, duplicate versions, sources.
#
#   tools/deny.sh [--install] [--advisories]
#
#   --install      builds cargo-deny into target/tools where there is none
#   --advisories   asks the advisory database too; where it cannot be fetched,
#                  says so and goes on
#
# Ends with 0 (in order), 77 (no cargo-deny here) or another status (a finding).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=0.20.2
tools=${CARGO_TARGET_DIR:-target}/tools
install=no advisories=no
for option in "$@"; do
    case $option in
        --install) install=yes ;;
        --advisories) advisories=yes ;;
        *) echo "deny: unknown option $option" >&2; exit 2 ;;
    esac
done

if [ -x "$tools/bin/cargo-deny" ]; then
    deny=$tools/bin/cargo-deny
elif deny=$(command -v cargo-deny); then
    : # whatever version its owner has
elif [ "$install" = yes ]; then
    echo "deny: building cargo-deny $version (150 CPU seconds; kept in $tools)"
    # It runs for seconds, so the time goes into building it, not into making it fast.
    CARGO_TARGET_DIR=$tools/build \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=false \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install --quiet --locked --root "$tools" --version "$version" cargo-deny
    rm -rf "$tools/build"
    deny=$tools/bin/cargo-deny
else
    echo "deny: cargo-deny is not installed ('make deny' builds it)" >&2
    exit 77
fi

"$deny" --locked check licenses bans sources
if [ "$advisories" = yes ]; then
    if fetched=$("$deny" --locked fetch db 2>&1); then
        "$deny" --locked check --disable-fetch advisories
    else
        printf '%s\n' "$fetched" | head -n 3 >&2
        echo "advisories: not run: the advisory database could not be fetched"
    fi
fi
