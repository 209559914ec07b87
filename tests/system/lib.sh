# shellcheck shell=bash disable=SC2154
# What the scenarios share: results, waiting with a deadline, the service.

results=${results:-/dev/null}

# ok NAME COMMAND...: one line of result, and the command's output if it failed.
ok() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        pass "$name"
    else
        fail "$name" "$out"
    fi
}
pass() { echo "ok $scenario: $1" | tee -a "$results"; }
fail() {
    echo "not ok $scenario: $1" | tee -a "$results"
    printf '%s\n' "${2:-}" | tail -n 20 | sed 's/^/#   /'
}
not() { ! "$@"; }

# is NAME GOT WANT: equal strings.
is() {
    if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got: $2
want: $3"; fi
}
# has NAME TEXT PATTERN: a line of the text matches the extended expression.
has() {
    if grep -qE -- "$3" <<<"$2"; then pass "$1"; else fail "$1" "no line like: $3
$2"; fi
}
# lacks NAME TEXT PATTERN: no line does.
lacks() {
    if grep -qE -- "$3" <<<"$2"; then fail "$1" "unwanted: $(grep -E -- "$3" <<<"$2")"; else pass "$1"; fi
}

# within SECONDS COMMAND...: true as soon as the command is, false at the deadline, which a step
# of the clock may bring.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$end" ]; then
            "$@" >/dev/null 2>&1
            return
        fi
        sleep 0.02
    done
}

unit=wslmesh.service
property() { guest systemctl show -P "$1" "$unit"; }
main_pid() { property MainPID; }
is_active() { [ "$(property ActiveState)" = active ] && [ "$(property SubState)" = running ]; }
state_is() { [ "$(property ActiveState)" = "$1" ]; }
# A process other than PID is up.
restarted_since() { is_active && [ "$(main_pid)" != "$1" ]; }

# journal [MATCH or OPTION]...: the unit's own messages, without systemd's.
journal() { guest journalctl -q -o cat "$@" _SYSTEMD_UNIT="$unit"; }
journal_has() { journal "${@:2}" | grep -E -- "$1" >/dev/null; }
lines_of_journal() { journal | wc -l; }

network_file=/etc/wslmesh/wsl-network.conf
network_file_has() { guest grep -qxF "$1" "$network_file"; }
mtu_of() { guest cat "/sys/class/net/$1/mtu"; }
mtu_is() { [ "$(mtu_of "$1")" = "$2" ]; }
sysctl_of() { guest sysctl -n "$1" | tr -s '[:blank:]' ' '; }
sysctl_is() { [ "$(sysctl_of "$1")" = "$2" ]; }

# apt_get COMMAND...: apt as an administrator uses it, with nothing but the
# packages at hand.
apt_get() {
    guest apt-get -q -y -o Dpkg::Use-Pty=0 -o APT::Sandbox::User=root "$@"
}
install_deb() { apt_get install "/packages/$deb" && within 10 is_active; }

# A drop-in of the unit on standard input.
drop_in() {
    guest mkdir -p "/etc/systemd/system/$unit.d"
    guest tee "/etc/systemd/system/$unit.d/$1.conf" >/dev/null
    guest systemctl daemon-reload
}
