# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# suites: bookworm trixie
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The relay has a unit of its own: a restart, a crash and an upgrade of the agent cut no
# connection, and it ends when the agent is stopped. In mirrored mode it runs in the
# guest, where a forward's ports differ; in NAT mode on Windows, which is played by a
# stand-in for /init: it answers as after an install by the earlier version, as slowly as
# Windows does, and starts the relay for Linux.
relay=wslmesh-relay.service
cat >"$run/init" <<'T'
#!/usr/bin/perl
if ($0 =~ m{/wslinfo$}) { print -e '/run/WSL/nat' ? 'nat' : 'mirrored'; exit 0 }
exec '/usr/lib/wslmesh/wslmesh-relay' if $ARGV[0] =~ m{/Program Files/wslmesh/wslmesh-relay\.exe$};
$ARGV[0] =~ m{/powershell\.exe$} or exit 1;
my $input = do { local $/; <STDIN> };
sleep(-e '/run/WSL/hung' ? 600 : 1);
open my $calls, '>>', '/run/wslmesh/calls';
print $calls $input =~ /("connect-address":"[0-9.]*")/, "\n";
print '{"version":1,"state":"synced","detail":null,"elevated":false,"rules":[],"added":0,"removed":0,"kept":0,"conflicts":[],',
    '"taken":[],"refused":[],"narrower":[],"silent":[],"firewall":{"state":"done","detail":null,"added":0,"removed":0,',
    '"kept":0,"blocks":[],"profiles":["private"],"covered":true,"guest":null},"installed":{"version":"0.0.9","contract":2,',
    '"relay":"C:\\\\Program Files\\\\wslmesh\\\\wslmesh-relay.exe","relay-forbidden":false},',
    '"local-app-data":"C:\\\\Users\\\\ann\\\\AppData\\\\Local","guest-address":null,"windows-address":"192.168.50.10","lowest-mtu":null}', "\n";
T
chmod 755 "$run/init"
boot "--bind=$run/init:/init:idmap" || exit 1
guest ln -s /init /usr/bin/wslinfo
guest mkdir -p /run/WSL
guest systemd-socket-activate -l /run/WSL/1_interop /bin/sleep infinity >/dev/null 2>&1 &
within 10 guest test -S /run/WSL/1_interop
# echo.pl: sends back what comes. clients.pl COUNT FILE: that many connections, each with
# numbered lines of which it checks every answer, until FILE exists; then the sums. There is
# FILE.started once each had an answer.
guest tee /root/echo.pl >/dev/null <<'T'
use strict; use IO::Socket::INET; $SIG{CHLD} = 'IGNORE';
my $listener = IO::Socket::INET->new(LocalAddr => '0.0.0.0:7001', Listen => 128, ReuseAddr => 1) or die;
while (1) {
    my $stream = $listener->accept or next;
    next if fork;
    while (sysread $stream, my $bytes, 65536) {
        while (length $bytes) { my $sent = syswrite $stream, $bytes or exit; substr $bytes, 0, $sent, ''; }
    }
    exit;
}
T
guest tee /root/clients.pl >/dev/null <<'T'
use strict; use IO::Socket::INET;
my ($count, $end) = @ARGV;
my @children;
$| = 1;
for my $client (1 .. $count) {
    my $pid = open(my $child, '-|') // die;
    if (!$pid) {
        my $stream = IO::Socket::INET->new(PeerAddr => '127.0.0.1:7000', Timeout => 5) or do { print "0 refused\n"; exit };
        my $number = 0;
        until (-e $end) {
            my $line = sprintf '%08d %s', ++$number, 'x' x 1000;
            print $stream "$line\n"; $stream->flush;
            my $answer = <$stream>;
            if (!defined $answer or $answer ne "$line\n") { print "$number lost\n"; exit }
            print "busy\n" if $number == 1;
        }
        # Nothing more comes than was sent.
        shutdown $stream, 1;
        print "$number ", (defined <$stream> ? 'more' : 'fine'), "\n";
        exit;
    }
    push @children, $child;
}
<$_> for @children;
open my $started, '>', "$end.started";
my ($fine, $bytes) = (0, 0);
for my $child (@children) { my ($number, $how) = split ' ', <$child>; $bytes += $number * 1010; $fine++ if $how eq 'fine' }
print "$fine of $count, $bytes bytes\n";
T
guest systemd-run -q --unit echo perl /root/echo.pl
guest mkdir -p /etc/wslmesh/wslmesh.toml.d
guest sh -c 'printf "[[forward]]\nname = \"echo\"\nprotocol = \"tcp\"\nlisten-port = 7000\nconnect-port = 7001\nfirewall = \"none\"\n" >/etc/wslmesh/wslmesh.toml.d/echo.toml'
earlier() { apt_get install --allow-downgrades "/packages/previous/$previous"; }
earlier >/dev/null || exit 1
# What went through the relay that runs, and back: bytes of clients.pl, and a copy of the rest.
sent=0
: >"$run/hellos"
echoes() { guest perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:7000", Timeout => 2) or exit 1; print $s "hello\n"; exit(<$s> ne "hello\n")' && echo hello >>"$run/hellos"; }
relay_pid() { guest systemctl show -P MainPID $relay; }
relay_runs() { [ "$(guest systemctl show -P ActiveState $relay)" = active ] && echoes; }
relay_ended() { [ "$(guest systemctl show -P ActiveState $relay)" = inactive ]; }
ok 'the forward is served by a unit of its own' within 20 relay_runs
[ "$(guest systemctl show -P ActiveState $relay)" = active ] || { journal | tail -20; guest journalctl -q -b -u $relay | tail; }
control=$(guest systemctl show -P ControlGroup $relay)
is 'outside of the control group of the agent' "$control" /system.slice/$relay
rating=$(guest systemd-analyze security --no-pager $relay 2>&1 | tail -1)
has 'in a sandbox' "$rating" 'level.*: [0-4]\.[0-9] '

carried() { guest wslmesh status --json | sed -n 's/.*"bytes-\(in\|out\)": \([0-9]*\).*/\1 \2/p' | xargs; }
# uncut NAME COMMAND...: 32 busy connections live through it, by the same relay, which
# counts every byte of them.
uncut() {
    local name=$1 before agent out all
    shift
    before=$(relay_pid) agent=$(main_pid)
    guest rm -f /root/end /root/end.started
    guest sh -c 'perl /root/clients.pl 32 /root/end >/root/result 2>&1' &
    local clients=$!
    within 10 guest test -e /root/end.started
    ok "$name: it is done" "$@"
    ok "$name: by another agent" within 20 restarted_since "$agent"
    within 20 guest sh -c 'wslmesh status | grep -q "echo .* by relay: up"'
    sleep 1
    guest touch /root/end
    wait $clients
    out=$(guest cat /root/result)
    has "$name: none of 32 busy connections is cut" "$out" '^32 of 32, [0-9]+ bytes$'
    is "$name: the relay is the same" "$(relay_pid)" "$before"
    sent=$((sent + $(sed -n 's/.*, \([0-9]*\) bytes$/\1/p' <<<"$out") + 0))
    all=$((sent + $(stat -c %s "$run/hellos")))
    is "$name: no byte of them is lost" "$(carried)" "in $all out $all"
    echo "# 42-relay: $name: $out"
}
uncut 'upgrade' apt_get install "/packages/$deb"
uncut 'restart' guest systemctl restart $unit
killed() { guest kill -9 "$(main_pid)"; }
uncut 'crash' killed
ok 'new connections are served' echoes
uncut 'reinstallation' apt_get install --reinstall "/packages/$deb"

# The next agent serves by it.
guest sh -c 'printf "[[forward]]\nname = \"more\"\nprotocol = \"tcp\"\nlisten-port = 7002\nconnect-port = 7001\nfirewall = \"none\"\n" >/etc/wslmesh/wslmesh.toml.d/more.toml'
guest systemctl reload $unit
ok 'the agent that took over adds a forward' within 10 guest perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => "127.0.0.1:7002", Timeout => 2)'
before=$(relay_pid)
guest systemctl stop $relay
back() { relay_runs && [ "$(relay_pid)" != "$before" ]; }
ok 'stopped by hand, it comes back' within 20 back
ok 'and the journal says so' within 5 journal_has 'relay-failed'
# Hung: it owes an answer to a reload.
before=$(relay_pid)
guest kill -STOP "$before"
guest sed -i s/7002/7003/ /etc/wslmesh/wslmesh.toml.d/more.toml
guest systemctl reload $unit
ok 'hung, it is replaced' within 40 back
guest systemctl stop $unit
ok 'it ends when the agent is stopped' within 10 relay_ended
guest systemctl start $unit
ok 'and starts with it' within 20 relay_runs

# The same in NAT mode, which is the default.
guest systemctl stop $unit
guest touch /run/WSL/nat
guest rm /etc/wslmesh/wslmesh.toml.d/more.toml
guest mkdir -p /mnt/c
guest mount -t tmpfs -o mode=0777 drive /mnt/c
system=/mnt/c/Windows/System32/WindowsPowerShell/v1.0
guest mkdir -p $system '/mnt/c/Program Files/wslmesh'
guest cp /bin/true $system/powershell.exe
guest cp /bin/true '/mnt/c/Program Files/wslmesh/wslmesh-relay.exe'
sent=0
: >"$run/hellos"
guest systemctl start $unit
on_windows() { guest wslmesh status | grep -E 'relay: serves.*Program Files'; }
ok 'after an install the forward is served by the relay on Windows' within 20 relay_runs
ok 'and status says so' within 10 on_windows
# answered COMMAND...: it, and then Windows answers again.
calls() { guest grep -c . /run/wslmesh/calls; }
more_calls() { [ "$(calls)" -gt "$1" ]; }
answered() {
    local count
    count=$(calls)
    "$@" && within 20 more_calls "$count"
}
uncut 'restart in NAT mode' answered guest systemctl restart $unit
uncut 'crash in NAT mode' answered killed
answered earlier >/dev/null 2>&1
uncut 'upgrade in NAT mode' answered apt_get install "/packages/$deb"
guest touch /run/WSL/hung
uncut 'restart while Windows does not answer' guest systemctl restart $unit
guest rm /run/WSL/hung
guest systemctl restart $unit
before=$(relay_pid)
set_address 172.28.27.77
ok 'it follows an address change' within 10 echoes
asked() { guest tail -n 1 /run/wslmesh/calls | grep 172.28.27.77; }
ok 'of which Windows is asked' within 20 asked
is 'by the same relay' "$(relay_pid)" "$before"
guest systemctl stop $unit
ok 'it ends when the agent is stopped in NAT mode' within 10 relay_ended
guest systemctl start $unit
ok 'and starts with it' within 20 relay_runs
# A service on loopback has a second relay before it, with a unit of its own.
near=wslmesh-relay-loopback.service
guest sh -c 'sed "s/0.0.0.0:7001/127.0.0.1:7011/" /root/echo.pl >/root/near.pl'
guest systemd-run -q --unit near perl /root/near.pl
guest sh -c 'printf "[[forward]]\nname = \"near\"\nprotocol = \"tcp\"\nlisten-port = 7010\nconnect-address = \"127.0.0.1\"\nconnect-port = 7011\nfirewall = \"none\"\n" >/etc/wslmesh/wslmesh.toml.d/near.toml'
guest systemctl reload $unit
# A line now, and one more when FILE exists.
guest tee /root/near-client.pl >/dev/null <<'T'
use strict; use IO::Socket::INET;
my ($end) = @ARGV;
my $stream = IO::Socket::INET->new(PeerAddr => '127.0.0.1:7010', Timeout => 2) or exit 1;
for my $line ("one\n", "two\n") {
    print $stream $line; $stream->flush;
    exit 1 if <$stream> ne $line;
    open my $started, '>', "$end.started";
    until (-e $end) { select undef, undef, undef, 0.1 }
}
T
near_echoes() { guest sh -c 'touch /root/now; perl /root/near-client.pl /root/now'; }
ok 'a service on loopback is reached' within 20 near_echoes
near_pid() { guest systemctl show -P MainPID $near; }
near_socket() { guest ss -Htlne sport = :7011 | sed -n 's/.*172\.28\..* ino:\([0-9]*\).*/\1/p'; }
# kept NAME COMMAND...: its relay, listener and connection live through it.
kept() {
    local name=$1 before socket agent
    shift
    before=$(near_pid) socket=$(near_socket) agent=$(main_pid)
    guest rm -f /root/then /root/then.started /root/then.fine
    guest sh -c 'perl /root/near-client.pl /root/then && touch /root/then.fine' &
    local client=$!
    within 10 guest test -e /root/then.started
    ok "$name: it is done" answered "$@"
    ok "$name: by another agent" within 20 restarted_since "$agent"
    within 20 guest sh -c 'wslmesh status | grep -q "near .* by relay: up"'
    guest touch /root/then
    wait $client
    ok "$name: the connection to a service on loopback lives" guest test -e /root/then.fine
    is "$name: its relay is the same" "$(near_pid)" "$before"
    is "$name: with the same listener" "${socket:-none} $(near_socket)" "$socket $socket"
    ok "$name: new connections to it are served" near_echoes
}
kept 'restart with a service on loopback' guest systemctl restart $unit
kept 'crash with a service on loopback' killed
near_ended() { [ "$(guest systemctl show -P ActiveState $near)" = inactive ]; }
guest rm /etc/wslmesh/wslmesh.toml.d/near.toml
guest systemctl reload $unit
ok 'the relay to loopback ends without such a forward' within 10 near_ended
guest rm /etc/wslmesh/wslmesh.toml.d/echo.toml
guest systemctl reload $unit
ok 'it ends without a forward' within 10 relay_ended
apt_get purge wslmesh >/dev/null
