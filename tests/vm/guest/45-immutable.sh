# shellcheck shell=dash
# /etc/resolv.conf that nothing may change (chattr +i), as guides have it. The flag needs a
# right that no namespace has.
set -eu
# shellcheck source=tests/vm/guest/lib.sh
. /vm/lib.sh

conf=/etc/resolv.conf
# says TEXT ARGUMENT...: what wslmesh doctor says with these, without its line breaks.
says() {
    says_text=$1
    shift
    wslmesh doctor "$@" >/tmp/said 2>&1 || true
    cat /tmp/said
    tr -s ' \n' ' ' </tmp/said | grep -qF "$says_text"
}
write() { echo 'nameserver 192.0.2.1' >>$conf; }
is_empty() { [ -f $conf ] && [ ! -L $conf ] && [ ! -s $conf ]; }
leads_to() { [ "$(readlink $conf)" = "$1" ]; }

make_eth0 1500
config </dev/null
mkdir -p /mnt/wsl
echo 'nameserver 192.0.2.53' >/mnt/wsl/resolv.conf
cp $conf /tmp/resolv.conf
: >$conf
chattr +i $conf
ok 'the flag is in force: root cannot write' not write
ok 'the doctor names it' says 'cannot be changed (chattr +i)' dns
ok '--fix says how to take it away' says 'sudo chattr -i /etc/resolv.conf' --fix dns
ok 'and has changed nothing' is_empty
is 'nor left anything beside it' "$(find /etc -name '*resolv*')" $conf
agent apply || true
ok 'a pass reports a file without a server' grep -q 'resolv.conf is empty' /tmp/agent.out
ok 'and leaves it alone' is_empty
chattr -i $conf
ok 'without the flag --fix makes the link' says 'is a link to /mnt/wsl/resolv.conf now' --fix dns
ok 'which leads to the file of WSL' leads_to /mnt/wsl/resolv.conf
ok 'restore puts back what was there' wslmesh restore
ok 'an empty file' is_empty
rm $conf
mv /tmp/resolv.conf $conf
rm -r /mnt/wsl
drop_eth0
