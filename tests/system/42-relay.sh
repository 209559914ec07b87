# shellcheck shell=bash disable=SC2154,SC2086,SC2016
# suites: bookworm trixie
# (run.sh and lib.sh set the names; the texts in single quotes are for the guest)
# The relay has a unit of its own: a restart, a crash and an upgrade of the agent cut no
# connection, and it ends when the agent is stopped. In mirrored mode it runs in the
# guest, where a forward's ports differ.
relay=wslmesh-relay.service
cat >"$run/init" <<'T'
#!/usr/bin/perl
if ($0 =~ m{/wslinfo$}) { print 'mirrored'; exit 0 }
exit 1;
T
chmod 755 "$run/init"
boot "--bind=$run/init:/init:idmap" || exit 1
guest ln -s /init /usr/bin/wslinfo
guest mkdir -p /run/WSL
guest systemd-socket-activate -l /run/WSL/1_interop /bin/sleep infinity >/dev/null 2>&1 &
within 10 guest test -S /run/WSL/1_interop
# echo.pl: sends back what comes. clients.pl COUNT FILE: that many connections, each with
# numbered lines of which it checks every answer, until FILE exists; then the sums.
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
        }
        print "$number fine\n";
        exit;
    }
    push @children, $child;
}
open my $started, '>', "$end.started";
my ($fine, $lines) = (0, 0);
for my $child (@children) { my ($number, $how) = split ' ', <$child>; $lines += $number; $fine++ if $how eq 'fine' }
print "$fine of $count, $lines lines\n";
T
guest systemd-run -q --unit echo perl /root/echo.pl
guest mkdir -p /etc/wslmesh/wslmesh.toml.d
guest sh -c 'printf "[[forward]]\nname = \"echo\"\nprotocol = \"tcp\"\nlisten-port = 7000\nconnect-port = 7001\nfirewall = \"none\"\n" >/etc/wslmesh/wslmesh.toml.d/echo.toml'
install_deb >/dev/null || exit 1
echoes() { guest perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:7000", Timeout => 2) or exit 1; print $s "hello\n"; exit(<$s> ne "hello\n")'; }
relay_pid() { guest systemctl show -P MainPID $relay; }
relay_runs() { [ "$(guest systemctl show -P ActiveState $relay)" = active ] && echoes; }
relay_ended() { [ "$(guest systemctl show -P ActiveState $relay)" = inactive ]; }
ok 'the forward is served by a unit of its own' within 20 relay_runs
[ "$(guest systemctl show -P ActiveState $relay)" = active ] || { journal | tail -20; guest journalctl -q -b -u $relay | tail; }
control=$(guest systemctl show -P ControlGroup $relay)
is 'outside of the control group of the agent' "$control" /system.slice/$relay
rating=$(guest systemd-analyze security --no-pager $relay 2>&1 | tail -1)
has 'in a sandbox' "$rating" 'level.*: [0-4]\.[0-9] '

# uncut NAME COMMAND...: 32 busy connections live through it, by the same relay.
uncut() {
    local name=$1 before out
    shift
    before=$(relay_pid)
    guest rm -f /root/end /root/end.started
    guest sh -c 'perl /root/clients.pl 32 /root/end >/root/result 2>&1' &
    local clients=$!
    within 10 guest test -e /root/end.started
    sleep 0.5
    "$@" >/dev/null 2>&1
    within 20 is_active
    sleep 1
    guest touch /root/end
    wait $clients
    out=$(guest cat /root/result)
    has "$name: none of 32 busy connections is cut" "$out" '^32 of 32, [0-9]+ lines$'
    is "$name: the relay is the same" "$(relay_pid)" "$before"
    echo "# 42-relay: $name: $out"
    within 20 guest sh -c 'wslmesh status | grep -q "echo.*7000"'
}
uncut 'restart' guest systemctl restart $unit
killed() { guest kill -9 "$(main_pid)"; sleep 0.5; }
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
guest rm /etc/wslmesh/wslmesh.toml.d/more.toml /etc/wslmesh/wslmesh.toml.d/echo.toml
guest systemctl reload $unit
ok 'it ends without a forward' within 10 relay_ended
apt_get purge wslmesh >/dev/null
