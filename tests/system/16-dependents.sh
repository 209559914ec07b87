# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# Units and hooks that depend on the address are notified of a new one: units in their order, then
# hooks, outside of the agent's sandbox.
boot || exit 1
install_deb >/dev/null || exit 1

hooks=/etc/wslmesh/hooks.d/address-changed
# service NAME: a unit on standard input, and it is started. What it notes is written when systemd
# says that it started (ExecStartPre=): of ExecStart= systemd knows only that it was begun.
service() {
    guest tee "/etc/systemd/system/$1.service" >/dev/null
    guest systemctl daemon-reload
    guest systemctl restart "$1"
}
# hook NAME: a program on standard input.
hook() {
    guest tee "$hooks/$1" >/dev/null
    guest chmod 755 "$hooks/$1"
}
config() {
    guest tee /etc/wslmesh/wslmesh.toml >/dev/null
    guest systemctl reload $unit
}
# The lines of units in their order, without the time that each took.
unit_results() { journal WSLMESH_EVENT=dependent | sed 's/ ([0-9.]* ms)$//'; }
events() { journal "WSLMESH_EVENT=$1" | wc -l; }
events_are() { [ "$(events "$1")" = "$2" ]; }
notes() { guest cat /var/tmp/notes; }
kept() { guest cat /run/wslmesh/dependents.json; }
kept_has() { kept | grep -F "$1" >/dev/null; }
clear_notes() { guest sh -c ': >/var/tmp/notes'; }

guest mkdir -p "$hooks"
clear_notes
service with-reload <<'T'
[Service]
ExecStartPre=sh -c 'echo with-reload start >>/var/tmp/notes'
ExecStart=sleep infinity
ExecReload=sh -c 'echo with-reload reload >>/var/tmp/notes'
T
service without-reload <<'T'
[Service]
ExecStartPre=sh -c 'echo without-reload start >>/var/tmp/notes'
ExecStart=sleep infinity
T
# Succeeds only the first time.
service failing <<'T'
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=sh -c 'echo failing start >>/var/tmp/notes; test ! -e /run/succeeded && touch /run/succeeded'
T
service last <<'T'
[Service]
ExecStartPre=sh -c 'echo last start >>/var/tmp/notes'
ExecStart=sleep infinity
ExecReload=sh -c 'echo last reload >>/var/tmp/notes'
T
service stopped <<'T'
[Service]
ExecStartPre=sh -c 'echo stopped start >>/var/tmp/notes'
ExecStart=sleep infinity
T
guest systemctl stop stopped
clear_notes

hook 10-facts <<'T'
#!/bin/sh
echo "hook facts" >>/var/tmp/notes
env | grep '^WSLMESH_' | sort >/var/tmp/facts
{ cat /proc/self/cgroup; echo "parent $PPID"; grep NoNewPrivs /proc/self/status; } >/var/tmp/place
touch /usr/written-by-hook
echo "a line from the hook"
T
hook 20-fails <<'T'
#!/bin/sh
echo "hook fails" >>/var/tmp/notes
exit 3
T
# SIGTERM to it alone would leave its child.
hook 30-hangs <<'T'
#!/bin/sh
echo "hook hangs" >>/var/tmp/notes
sleep 9999 &
sleep 9999
T
hook 40-last <<'T'
#!/bin/sh
echo "hook last" >>/var/tmp/notes
T
hook 50-loose <<'T'
#!/bin/sh
echo "hook loose" >>/var/tmp/notes
T
guest chmod 775 "$hooks/50-loose"
hook 60-strange <<'T'
#!/bin/sh
echo "hook strange" >>/var/tmp/notes
T
guest chown 1000 "$hooks/60-strange"
hook 70-old.dpkg-old <<'T'
#!/bin/sh
echo "hook old" >>/var/tmp/notes
T

config <<'T'
[dependents]
units = ["with-reload", "without-reload", "absent", "stopped", { name = "failing", action = "restart" }, { name = "last", action = "restart" }]
hook-timeout = "1s"
T
ok 'a unit that is not there is a warning' within 10 journal_has 'dependent-missing \(absent\.service\)' WSLMESH_HEALTH=dependent-missing PRIORITY=4
ok 'a hook that others can write is refused' within 10 journal_has 'hook-refused .*50-loose.*chmod go-w'
ok 'and one of another owner' within 10 journal_has 'hook-refused .*60-strange.*chown root'
is 'none was notified yet' "$(notes)" ''

set_address 172.28.27.77
ok 'a round is made' within 30 events_are hook 4
is 'in order, and each one its way' "$(notes)" 'with-reload reload
without-reload start
failing start
last start
hook facts
hook fails
hook hangs
hook last'
is 'the journal has each with its result' "$(unit_results)" 'reload-or-restart with-reload.service: done
reload-or-restart without-reload.service: done
reload-or-restart stopped.service: does not run, left alone
restart failing.service: restart ended as failed (exit-code)
restart last.service: done'
fields=$(guest journalctl -q -o export -u $unit WSLMESH_EVENT=dependent WSLMESH_UNIT=failing.service)
has 'with the action' "$fields" '^WSLMESH_ACTION=restart$'
has 'the result' "$fields" '^WSLMESH_RESULT=failed$'
has 'and the duration' "$fields" '^WSLMESH_DURATION_US=[0-9]+$'
ok 'a failure is a warning with its reason' within 10 journal_has 'dependent-failed \(failing\.service\): .*exit-code' WSLMESH_HEALTH=dependent-failed PRIORITY=4
is 'the stopped one stays stopped' "$(guest systemctl is-active stopped)" inactive

is 'the facts are in the environment of a hook' "$(guest cat /var/tmp/facts)" 'WSLMESH_ADDRESS_NEW=172.28.27.77
WSLMESH_ADDRESS_OLD=172.28.16.5
WSLMESH_EVENT=address-changed
WSLMESH_GATEWAY=172.28.16.1
WSLMESH_INTERFACE=eth0
WSLMESH_MODE=not-wsl'
place=$(guest cat /var/tmp/place)
has 'a hook is a unit of its own' "$place" 'wslmesh-hook-10-facts-[0-9a-f]{8}\.service'
has 'a child of systemd' "$place" '^parent 1$'
has 'free of our sandbox' "$place" '^NoNewPrivs:[[:blank:]]0$'
ok 'which could not write there' guest test -e /usr/written-by-hook
ok 'what it prints is in the journal' within 10 guest sh -c "journalctl -q -t wslmesh-hook | grep -F 'a line from the hook'"
fields=$(guest journalctl -q -o export -u $unit WSLMESH_EVENT=hook WSLMESH_HOOK=20-fails)
has 'the result of a hook' "$fields" '^WSLMESH_RESULT=exit-code$'
has 'its exit status' "$fields" '^WSLMESH_EXIT_STATUS=3$'
has 'and its duration' "$fields" '^WSLMESH_DURATION_US=[0-9]+$'
has 'one that hangs is ended' "$(journal WSLMESH_HOOK=30-hangs)" 'still running after 1s'
is 'with its children' "$(guest pgrep -fc 'sleep 9999')" 0
ok 'both are warnings' within 10 journal_has 'hook-failed .*30-hangs' WSLMESH_HEALTH=hook-failed
is 'no hook is left as a unit' "$(guest systemctl list-units --all --no-legend 'wslmesh-hook-*')" ''
is 'the missing one was reported once' "$(journal WSLMESH_HEALTH=dependent-missing | wc -l)" 1

# An address that flaps: one more round, and for the last address.
guest rm -r "$hooks"
config <<'T'
[dependents]
units = ["with-reload", "last"]
T
ok 'what is corrected clears' within 10 journal_has 'dependent-missing .* cleared'
service last <<'T'
[Service]
ExecStart=sleep infinity
ExecReload=sh -c 'until test -e /run/go; do sleep 0.05; done'
T
before=$(events dependent)
for last in 1 2 3 4 5; do
    set_address "172.28.28.$last"
    within 10 network_file_has "WSL_IP=\"172.28.28.$last\""
done
guest touch /run/go
ok 'a burst ends with the last address' within 30 kept_has '"notified":"172.28.28.5"'
is 'in one round more' "$(events dependent)" "$((before + 4))"

# What changed while the agent was away.
guest systemctl stop $unit
set_address 172.28.29.9
before=$(events dependent)
guest systemctl start $unit
ok 'a change between two runs is notified' within 30 kept_has '"notified":"172.28.29.9"'
is 'to all' "$(events dependent)" "$((before + 2))"
guest systemctl restart $unit
within 10 is_active
reloads=$(journal WSLMESH_EVENT=reload | wc -l)
guest systemctl reload $unit
reloaded() { [ "$(journal WSLMESH_EVENT=reload | wc -l)" -gt "$reloads" ]; }
within 10 reloaded
is 'and once' "$(events dependent)" "$((before + 2))"

# A unit that takes the agent with it: no round without end.
service taker <<'T'
[Service]
ExecStart=sleep infinity
ExecReload=sh -c 'echo taker >>/var/tmp/notes; systemctl restart wslmesh'
T
config <<'T'
[dependents]
units = ["taker", "with-reload"]
T
clear_notes
pid=$(main_pid)
set_address 172.28.30.3
ok 'it was restarted in the middle' within 30 restarted_since "$pid"
ok 'and goes on with the rest' within 30 kept_has '"notified":"172.28.30.3"'
is 'none is notified twice' "$(notes)" 'taker
with-reload reload'

# No D-Bus: reported once, and notified as soon as it is back.
config <<'T'
[dependents]
units = ["with-reload", "without-reload"]
T
guest systemctl stop dbus.socket dbus.service
clear_notes
set_address 172.28.31.4
# The check after the reload above may have met the stopped bus first: the warning says who
# was not reached then, the status says it now.
ok 'without D-Bus they are not notified' within 30 guest grep -q 'not notified: with-reload\.service, without-reload\.service' /run/wslmesh/status.json
ok 'which is one warning' within 10 journal_has 'dependent-failed \(systemd\): ' WSLMESH_HEALTH=dependent-failed PRIORITY=4
ok 'everything else follows' within 10 network_file_has 'WSL_IP="172.28.31.4"'
guest systemctl start dbus.socket dbus.service
ok 'they are notified when it is back' within 60 kept_has '"notified":"172.28.31.4"'
is 'each once' "$(notes)" 'with-reload reload
without-reload start'
ok 'and the finding clears' within 10 journal_has 'dependent-failed \(systemd\) cleared'
is 'it was reported once' "$(journal WSLMESH_HEALTH=dependent-failed PRIORITY=4 | grep -c '(systemd)')" 1
