# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The numbers for node_exporter in the unit's sandbox, in a folder as Debian's packages leave it:
# that of root's below one of the user prometheus.
boot || exit 1
install_deb >/dev/null || exit 1

folder=/var/lib/prometheus/node-exporter
file=$folder/wslmesh.prom
in_file() { guest grep -qE -- "$1" "$file"; }
gone() { not guest test -e "$file"; }

guest sh -c "printf '[metrics]\ntextfile = \"%s\"\n' $file >/etc/wslmesh/wslmesh.toml"
guest systemctl reload $unit
ok 'a missing folder is a finding' within 10 journal_has "metrics-unwritable.*$file.*does not exist" WSLMESH_HEALTH=metrics-unwritable
ok 'and the service goes on' is_active
guest useradd --system --no-create-home prometheus
guest mkdir -p $folder
guest chown prometheus: /var/lib/prometheus
guest systemctl restart $unit
ok 'after a restart it is written' within 20 in_file '^wslmesh_up 1$'
is 'for all to read, and root alone to write' "$(guest stat -c '%a %U' $file)" '644 root'
has 'every user gets the same numbers on D-Bus' "$(guest runuser -u nobody -- wslmesh status --metrics)" '^wslmesh_passes_total [1-9]'
lacks 'nothing is wrong with it' "$(guest wslmesh status)" metrics-unwritable

drop_in tick <<'T'
[Service]
WatchdogSec=2s
T
guest systemctl restart $unit
within 20 in_file '^wslmesh_up 1$'
passes() { guest sed -n 's/^wslmesh_passes_total //p' $file; }
more_than() { [ "$(passes)" -gt "$1" ]; }
before=$(passes)
guest systemctl reload $unit
ok 'it follows the passes' within 20 more_than "$before"

guest chown prometheus: $folder
guest systemctl reload $unit
ok 'somebody else'"'"'s folder is refused' within 10 journal_has "chown root: $folder" WSLMESH_HEALTH=metrics-unwritable
guest chown root: $folder
guest systemctl reload $unit
ok 'and the finding clears' within 20 journal_has 'metrics-unwritable .* cleared'

guest systemctl stop $unit
ok 'nothing is left after a stop' gone
is 'nor beside it' "$(guest ls -A $folder)" ''
