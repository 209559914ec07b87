# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The journal: ids, fields and the catalog as journalctl sees them, a journald that
# restarts or stops, silence, and rate limiting.
boot || exit 1
install_deb >/dev/null || exit 1

# The id as docs/journal.md promises it.
id_of() { printf 'wslmesh %s' "$1" | sha256sum | cut -c 1-32; }
# field NAME MATCH...: of the last line.
field() { guest journalctl -q -o json -n 1 "${@:2}" _SYSTEMD_UNIT=$unit | grep -oP "\"$1\":\"\\K[^\"]*"; }
health_is() { guest grep -q "\"code\": \"$1\"" /run/wslmesh/status.json; }
not_health() { ! health_is "$1"; }
# new_address ADDRESS: given by Windows, and taken.
new_address() { set_address "$1" && within 10 network_file_has "WSL_IP=\"$1\""; }
arrives() { within 10 journal_has . WSLMESH_ADDRESS_NEW="$1"; }

ok 'the address changes' new_address 172.28.16.6
ok 'one line says so' arrives 172.28.16.6
pass=(WSLMESH_EVENT=pass WSLMESH_ADDRESS_NEW=172.28.16.6)
is 'it has the id of its event' "$(field MESSAGE_ID "${pass[@]}")" "$(id_of 'event pass')"
is 'the address before' "$(field WSLMESH_ADDRESS_OLD "${pass[@]}")" 172.28.16.5
is 'the interface' "$(field WSLMESH_INTERFACE "${pass[@]}")" eth0
is 'a mode' "$(field WSLMESH_MODE "${pass[@]}" | wc -w)" 1
has 'a duration in microseconds' "$(field WSLMESH_DURATION_US "${pass[@]}")" '^[0-9]+$'
is 'priority and identifier' "$(field PRIORITY "${pass[@]}") $(field SYSLOG_IDENTIFIER "${pass[@]}")" '6 wslmesh'
is 'no line without an id' "$(guest journalctl -q -o json _SYSTEMD_UNIT=$unit | grep -vc '"MESSAGE_ID"')" 0

guest sh -c 'printf "[mtu]\nvalu = 1280\n" >/etc/wslmesh/wslmesh.toml'
guest systemctl reload $unit
ok 'a problem is in the journal' within 10 journal_has valu MESSAGE_ID="$(id_of 'health config-rejected')"
is 'with its subject' "$(field WSLMESH_SUBJECT WSLMESH_HEALTH=config-rejected)" /etc/wslmesh/wslmesh.toml
said=$(guest journalctl -q -x -u $unit WSLMESH_HEALTH=config-rejected)
has 'journalctl -x explains it' "$said" 'The new configuration has errors; the previous one stays in effect'
has 'names the subject' "$said" 'Subject: config-rejected .*/etc/wslmesh/wslmesh.toml'
has 'and the fix' "$said" 'Correct it .`wslmesh config check`.*systemctl reload wslmesh'
guest sh -c ': >/etc/wslmesh/wslmesh.toml'
guest systemctl reload $unit
ok 'a cleared finding has the code too' within 10 journal_has 'cleared' \
    WSLMESH_HEALTH=config-rejected MESSAGE_ID="$(id_of 'event health-cleared')"
is 'systemd takes the whole catalog' "$(guest journalctl --update-catalog 2>&1)" ''
is 'and knows each entry' "$(guest journalctl --dump-catalog | grep -c '^Defined-By: wslmesh')" \
    "$(guest grep -c '^-- ' /usr/lib/systemd/catalog/wslmesh.catalog)"

# A key of 300 kB: more than a datagram holds.
is_long() { [ "$(journal --all -n 1 WSLMESH_HEALTH=config-rejected | wc -c)" -gt 300000 ]; }
guest sh -c '{ head -c 300000 /dev/zero | tr "\0" k; echo " = 1"; } >/etc/wslmesh/wslmesh.toml'
guest systemctl reload $unit
ok 'a line of 300 kB arrives whole' within 10 is_long
guest sh -c ': >/etc/wslmesh/wslmesh.toml'
guest systemctl reload $unit
ok 'and its finding clears' within 10 not_health config-rejected

pid=$(main_pid)
guest systemctl restart systemd-journald
ok 'with a journald restarted the address changes' new_address 172.28.16.7
ok 'and the line arrives' arrives 172.28.16.7

sockets=(systemd-journald.socket systemd-journald-dev-log.socket systemd-journald-audit.socket)
guest systemctl stop systemd-journald "${sockets[@]}" 2>/dev/null
ok 'journald is stopped' not guest systemctl --quiet is-active systemd-journald
ok 'without it the address changes' new_address 172.28.16.8
guest systemctl start systemd-journald.socket systemd-journald-dev-log.socket systemd-journald
ok 'with it back it changes again' new_address 172.28.16.9
ok 'and the line arrives' arrives 172.28.16.9

# A queue of two lines, and a journald that does not read them.
guest sysctl -q -w net.unix.max_dgram_qlen=2
guest systemctl restart systemd-journald.socket systemd-journald
ok 'journald runs again' new_address 172.28.16.10
ok 'and reads' arrives 172.28.16.10
journald=$(guest systemctl show -P MainPID systemd-journald)
guest kill -STOP "$journald"
for last in $(seq 20 29); do
    new_address "172.28.16.$last" || break
done
is 'it does not read, and the agent goes on' "$last" 29
guest kill -CONT "$journald"
ok 'then it reads' new_address 172.28.16.30
ok 'and the line arrives' arrives 172.28.16.30
is 'all that in one process' "$(main_pid)" "$pid"

lines=$(lines_of_journal)
sleep 3
is 'no line while nothing happens' "$(lines_of_journal)" "$lines"

# Fifteen times a file that cannot be understood, and can again.
guest cp $network_file /tmp/good
rounds=0
for _ in $(seq 15); do
    guest sh -c "echo 'WSL_IP=\"open' >>$network_file"
    guest systemctl reload $unit
    within 10 health_is network-file-unreadable || break
    guest sh -c "cat /tmp/good >$network_file"
    guest systemctl reload $unit
    within 10 not_health network-file-unreadable || break
    rounds=$((rounds + 1))
done
is 'a problem comes and goes' "$rounds" 15
problem=WSLMESH_HEALTH=network-file-unreadable
is 'ten lines say so' "$(journal $problem | wc -l)" 10
has 'the last of them says that further ones are counted' "$(journal $problem | tail -n 1)" 'repeating: further lines are counted for'
guest systemctl stop $unit
has 'the last line has the number' "$(journal $problem | tail -n 1)" 'cleared \(10 more times in [0-9]+ s\)'
is 'as a field too' "$(field WSLMESH_TIMES $problem)" 10
ok 'before the stop' journal_has stopped -n 1

apt_get remove wslmesh >/dev/null
is 'removed, the catalog forgets it' "$(guest journalctl --dump-catalog | grep -c '^Defined-By: wslmesh')" 0
