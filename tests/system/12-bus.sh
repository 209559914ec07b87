# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The agent on the real system bus, under the hardened unit: who may read and
# who may change, with polkit and without, and a bus that comes and goes.
boot || exit 1
install_deb >/dev/null || exit 1

agent=(org.wslmesh.Agent1 /org/wslmesh/Agent1)
get() { busctl get-property "${agent[@]}" org.wslmesh.Agent1 "$1" | sed 's/^[a-z]* "\(.*\)"$/\1/'; }
call() { busctl call "${agent[@]}" org.wslmesh.Agent1 "$@"; }
busctl() { guest "${as[@]}" busctl --timeout=20 "$@"; }
as=() # who calls
user=(setpriv --reuid=1000 --regid=1000 --clear-groups)
property_is() { [ "$(get "$1")" = "$2" ]; }

ok 'it is on the bus' within 10 property_is Role active
seen=$(busctl introspect "${agent[@]}")
has 'busctl lists its methods' "$seen" '^\.AddForward +method +sssqqs +s'
has 'and its properties' "$seen" '^\.Health +property +a\(sssss\)'
has 'and its signals' "$seen" '^\.AddressChanged +signal +sss'
ok 'the address is a property' within 10 property_is Address 172.28.16.5
is 'and the version' "$(get Version)" "$(guest wslmesh --version | cut -d ' ' -f 2)"

as=("${user[@]}")
is 'all users read' "$(get Interface)" eth0
has 'the whole document too' "$(call Describe)" '172\.28\.16\.5'
for method in Reapply Reload 'AddForward sssqqs web tcp  8080 0 local' 'RemoveForward s web'; do
    # An empty argument cannot stand in a list of words.
    method=${method/tcp  /tcp 0.0.0.0 }
    said=$(call $method 2>&1)
    has "others may not: ${method%% *}" "$said" 'only root.*: sudo (systemctl|wslmesh)'
    has "polkit is asked: ${method%% *}" "$said" 'org\.wslmesh\.Agent1\.(reapply|reload|manage-forwards)'
done
ok 'and nothing has changed' not guest test -e /etc/wslmesh/wslmesh.toml.d/forward-web.toml
has 'others may not have the name' "$(guest "${user[@]}" busctl call org.freedesktop.DBus / org.freedesktop.DBus RequestName su org.wslmesh.Agent1 0 2>&1)" 'not allowed to own|denied'

as=()
is 'root adds a forward' "$(call AddForward sssqqs web tcp '' 8080 0 local)" 's "/etc/wslmesh/wslmesh.toml.d/forward-web.toml"'
has 'which is listed' "$(call ListForwards)" '"web"'
has 'in the file too' "$(guest cat /etc/wslmesh/wslmesh.toml.d/forward-web.toml)" 'listen-port = 8080'
is 'and removes it' "$(call RemoveForward s web)" 's "/etc/wslmesh/wslmesh.toml.d/forward-web.toml"'
lacks 'it is removed' "$(call ListForwards)" '"web"'
has 'wrong types are an error' "$(call RemoveForward u 7 2>&1)" 'InvalidArgs|[Ii]nvalid|[Ss]ignature'
guest sh -c 'echo "valu = 1" >/etc/wslmesh/wslmesh.toml'
has 'a configuration with errors is reported' "$(call Reload 2>&1)" 'wslmesh\.toml:1:1.*valu'
guest sh -c ': >/etc/wslmesh/wslmesh.toml'
ok 'and a good one is taken' call Reload

# Members of the group need no password.
guest groupadd -f wslmesh
guest usermod -aG wslmesh user
as=("${user[@]}")
ok 'a member of group wslmesh reloads' within 10 call Reload
ok 'and tries everything again' call Reapply
is 'and adds a forward' "$(call AddForward sssqqs web tcp '' 8080 0 none)" 's "/etc/wslmesh/wslmesh.toml.d/forward-web.toml"'
ok 'and removes it' call RemoveForward s web
guest gpasswd -d user wslmesh >/dev/null
guest systemctl mask --now polkit.service >/dev/null 2>&1
has 'without polkit others may not' "$(call Reload 2>&1)" 'only root may have the configuration read again: sudo systemctl reload wslmesh'
as=()
ok 'and root may' call Reload

guest sh -c 'busctl monitor --json=short org.wslmesh.Agent1 >/run/heard 2>/dev/null' &
ok 'a monitor listens' within 10 guest pidof busctl
# It says nothing when it has begun, so the address changes until it has heard of it.
heard_of_a_change() {
    set_address "172.28.16.$((30 + RANDOM % 200))"
    within 2 guest grep -q '"member":"AddressChanged"' /run/heard
}
ok 'a change of the address is a signal' within 20 heard_of_a_change
ok 'and a property that changed' guest grep -q 'PropertiesChanged.*"Address":{"type":"s","data":"172\.28\.16\.' /run/heard
guest pkill -x busctl
set_address 172.28.16.5

# The flood: changing calls that are denied, and reads, from many processes.
resident() { guest sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(main_pid)/status"; }
settled_at() {
    local begun
    begun=$(date +%s%N)
    set_address "$1"
    within 10 network_file_has "WSL_IP=\"$1\"" || return 1
    echo $((($(date +%s%N) - begun) / 1000000))
}
guest systemctl unmask polkit.service >/dev/null 2>&1
pid=$(main_pid)
settled_at 172.28.16.40 >/dev/null
quiet=$(settled_at 172.28.16.41)
before=$(resident)
guest "${user[@]}" sh -c '
    end=$(($(date +%s) + 10)); : >/tmp/flood
    for caller in 1 2 3 4 5 6 7 8; do
        (
            n=0
            while [ "$(date +%s)" -lt "$end" ]; do
                for k in 1 2 3 4 5; do
                    dbus-send --system --dest=org.wslmesh.Agent1 --type=method_call /org/wslmesh/Agent1 org.wslmesh.Agent1.Reload
                    dbus-send --system --dest=org.wslmesh.Agent1 --type=method_call /org/wslmesh/Agent1 org.wslmesh.Agent1.Describe
                    n=$((n + 2))
                done
            done
            echo $n >>/tmp/flood
        ) &
    done
    wait' &
flooding=$!
slowest=0
round=50
while kill -0 $flooding 2>/dev/null; do
    took=$(settled_at "172.28.16.$round") || took=99999
    [ "$took" -le "$slowest" ] || slowest=$took
    round=$((round % 200 + 1))
done
wait $flooding
after=$(resident)
calls=$(guest awk '{ n += $1 } END { print n }' /tmp/flood)
echo "# flood: $calls calls in 10 s; address to file $quiet ms before, $slowest ms at most meanwhile (with this script's own looking); RSS $before kB before, $after kB after"
ok 'a flood does not starve the loop' test "$slowest" -lt 5000
ok 'nor grow its memory' test "$after" -lt $((before + 8192))
is 'nor end the process' "$(main_pid)" "$pid"
is 'and nothing of it is in the journal' "$(guest journalctl -q -o cat _SYSTEMD_UNIT=$unit --since -20s | grep -cE 'Reload|Describe|denied|Denied')" 0
set_address 172.28.16.5

# The bus goes and comes.
guest systemctl kill -s KILL dbus.service
ok 'the bus was killed, and it says so' within 10 journal_has 'lost the system bus; reconnecting' WSLMESH_EVENT=bus
ok 'it is on the bus again' within 30 property_is Address 172.28.16.5
ok 'and says so' within 10 journal_has 'on the system bus again'
guest systemctl restart dbus.service
ok 'and after a restart of the bus' within 30 property_is Role active
is 'it is the same process' "$(main_pid)" "$pid"

guest systemctl stop dbus.socket dbus.service
ok 'it starts without a bus' guest systemctl restart $unit
ok 'and works' within 10 is_active
set_address 172.28.16.77
ok 'as well' within 10 network_file_has 'WSL_IP="172.28.16.77"'
lacks 'without a finding' "$(guest wslmesh status)" 'bus-'
guest systemctl start dbus.socket
guest systemctl reload $unit
ok 'a reload finds the bus' within 10 property_is Address 172.28.16.77
