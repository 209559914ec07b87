#!/bin/bash
# Runs everything that CI runs, part by part; called by `make test`.
#
# The last line names the parts that cannot run on this machine, with the reason.
# With CI=true that is a failure. It names the scripts for Windows in any case: no
# PowerShell is run here, and a workflow of its own (windows.yml) runs them.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

target=${CARGO_TARGET_DIR:-target}
case ${CI:-false} in
    '' | 0 | false | no) ci=no ;;
    *) ci=yes ;;
esac
# Tests compare English output.
export LC_ALL=C.UTF-8

ran=() failed=() skipped=()
mkdir -p "$target"
log=$(mktemp "$target/part.XXXXXX")
trap 'rm -f "$log"' EXIT

# part NAME COMMAND...: 0 is success, 77 is "cannot run here" with the reason in the
# last line of output, anything else is a failure.
part() {
    local name=$1 status begin=$SECONDS
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 </dev/null | tee "$log"
    status=${PIPESTATUS[0]}
    printf '== %s: %s s\n' "$name" $((SECONDS - begin))
    if [ "$status" = 0 ]; then
        ran+=("$name")
    elif [ "$status" != 77 ]; then
        failed+=("$name")
    elif [ "$ci" = yes ]; then
        echo "$name cannot run, and CI leaves nothing out"
        failed+=("$name")
    else
        skipped+=("$name ($(tail -n 1 "$log"))")
    fi
}

# Installs what a part needs; if that fails, the part is not run.
with() {
    local what
    read -ra what <<<"$1"
    shift
    tools/setup.sh "${what[@]}" || return 77
    "$@"
}

# With the programs of the parts before it; cargo finds them built and only says
# where the lab is.
vm() {
    local lab
    lab=$(cargo test --locked --no-run --test lab --message-format=json \
        | sed -n 's/.*"executable":"\([^"]*\/lab-[^"]*\)".*/\1/p')
    tests/vm/run.sh "$target/debug/wslmesh" "$target/debug/wslmesh-relay" "$lab"
}

# What a part that was begun earlier has printed, and its status.
joined() { # joined PID LOG
    tail --pid="$1" -f /dev/null
    cat "$2"
    return "$(cat "$2.status" 2>/dev/null || echo 1)"
}

windows_relay() {
    tools/windows.sh lint && tools/windows.sh build && tools/windows.sh test
}

# Builds the packages twice, compares them, and runs the distributions' checks.
packages() {
    cargo build --release --locked \
        && tests/man.sh "$target/release/wslmesh" \
        && tests/packages.sh "$target/packages"
}

deny() {
    if [ "$ci" = yes ]; then tools/deny.sh --install; else tools/deny.sh; fi
}

# Nothing can be tested without a compiler.
tools/setup.sh build || exit 1

# The guests' files wait for a mirror and cargo-deny's build for itself: both are
# made beside the first parts, which find them finished. What fails here fails
# again in its part, with its reason.
prepare() {
    local guests suite
    guests=$(mkdir -p "$target/system" && cd "$target/system" && pwd) || return
    if [ "$ci" = yes ]; then tools/deny.sh --install; fi
    [ "$(id -u)" = 0 ] || return 0
    for suite in bookworm trixie; do
        flock "$guests" tests/system/vm/build.sh "$guests" "$suite"
    done
}
with 'lint lab shells vm windows wine aarch64 packages system' true || true
(
    renice -n 19 "$BASHPID" >/dev/null
    prepare
) >"$target/prepare.log" 2>&1 </dev/null &
preparing=$!
in_vm=''
clean_up() {
    local job
    rm -f "$log"
    for job in $preparing $in_vm; do
        pkill -TERM -P "$job"
        kill "$job" 2>/dev/null || true
    done
}
trap clean_up EXIT

part rustfmt with lint cargo fmt --check
part shellcheck with lint tools/shellcheck.sh
part clippy with lint cargo clippy --all-targets --locked -- -D warnings
part build cargo build --locked
part 'cargo test' with 'lab shells' cargo test --locked --no-fail-fast
part prometheus with metrics tests/metrics/run.sh "$target/debug/wslmesh"
part fleet with fleet tests/fleet/run.sh "$target/debug/wslmesh"
part pictures with 'lab pictures' tools/pictures.py --check cargo test --quiet --locked --test lab -- --demo
# The release build keeps one CPU busy, and so does the guest: each beside the other.
rm -f "$target/vm.log.status"
(
    with vm vm
    echo $? >"$target/vm.log.status"
) >"$target/vm.log" 2>&1 </dev/null &
in_vm=$!
part 'windows relay' with 'lint windows wine' windows_relay
part aarch64 with aarch64 tools/aarch64.sh test
part packages with 'packages system' packages
part vm joined "$in_vm" "$target/vm.log"
wait "$preparing" || true
part system with system tests/system/run.sh "$target/packages"
part 'system vm' with 'vm system' tests/system/vm/run.sh "$target/packages"
part cargo-deny deny
reason='no PowerShell here'
if command -v pwsh >/dev/null; then reason='not a part of make test'; fi
skipped+=("windows scripts ($reason; only parsed and linted; to run them: pwsh tests/windows/run.ps1 -Whole)")

list() {
    local text=$1
    shift
    for item in "$@"; do text+=", $item"; done
    echo "$text"
}
summary="make test: ran: $(list "${ran[@]:-none}")"
summary+="; not run: $(list "${skipped[@]}")"
if [ ${#failed[@]} -gt 0 ]; then
    printf '\n%s; FAILED: %s\n' "$summary" "$(list "${failed[@]}")"
    exit 1
fi
printf '\n%s\n' "$summary"
