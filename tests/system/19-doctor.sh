# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# What wslmesh doctor says of units on a real systemd, to root and to others.
boot || exit 1
install_deb >/dev/null || exit 1

# check ID: the verdict of one check, as root; user_check the same as an ordinary user.
check() { guest wslmesh doctor --json | verdict "$1"; }
user_check() { guest setpriv --reuid=65534 --regid=65534 --clear-groups wslmesh doctor --json | verdict "$1"; }
verdict() {
    tr -d '\n' | grep -oE "\"id\": \"$1\",[^}]*\"verdict\": \"[a-z]*\"" | grep -oE '[a-z]*"$' | tr -d '"'
}
check_is() { [ "$(check "$1")" = "$2" ]; }

is 'systemd is seen' "$(check systemd-running)" ok
is 'the unit is enabled' "$(check unit-enabled)" ok
is 'and active' "$(check unit-active)" ok
is 'also to an ordinary user' "$(user_check unit-active)" ok
guest systemctl disable -q $unit
is 'a disabled unit is a warning' "$(check unit-enabled)" warning
guest systemctl mask -q $unit
is 'so is a masked one' "$(check unit-enabled)" warning
guest systemctl unmask -q $unit
guest systemctl enable -q $unit
is 'enabled again it is ok' "$(check unit-enabled)" ok

guest tee /etc/systemd/system/wg-quick@broken.service >/dev/null <<'T'
[Service]
Type=oneshot
ExecStart=/bin/false
T
guest systemctl daemon-reload
guest systemctl start wg-quick@broken.service 2>/dev/null
ok 'a tunnel that failed is named' within 10 check_is failed-units error
guest rm /etc/systemd/system/wg-quick@broken.service
guest systemctl daemon-reload
guest systemctl reset-failed

ok 'the network file is ok' within 10 check_is network-file ok
guest chmod 777 /etc/wslmesh
is 'a folder that others can write' "$(check files-own)" warning
has '--fix is for root' "$(guest setpriv --reuid=65534 --regid=65534 --clear-groups wslmesh doctor --fix 2>&1)" 'sudo wslmesh doctor --fix'
has '--fix closes it' "$(guest wslmesh doctor --fix)" 'fixed: /etc/wslmesh has mode 755'
is 'and it is ok' "$(check files-own)" ok
guest systemctl stop $unit
# Only an info: the guest is not WSL.
is 'a stopped agent is seen' "$(check agent-health)" info
