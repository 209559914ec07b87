//! Tunnels beside the address.

use super::*;

const UNITS: &str = "[dependents]\non = [\"address\", \"mesh\"]\nunits = [\"a\"]\n";

/// What the network file says of wg0, which is gone without an address.
fn wg0(ip: &str, port: &str) -> Mesh {
    let fact = |value: &str| Fact {
        interface: (!ip.is_empty()).then(|| InterfaceName::new("wg0").unwrap()),
        value: value.to_owned(),
    };
    [
        (FactKey::MeshIpWireguard, fact(ip)),
        (FactKey::MeshPortWireguard, fact(port)),
    ]
    .into()
}

impl Bench {
    /// The run that this brings at once.
    fn mesh(&mut self, ip: &str, port: &str) -> Option<Begun> {
        self.seen(None, &wg0(ip, port))
    }

    /// The run that this brings once it has lasted.
    fn lasting(&mut self, ip: &str, port: &str) -> Option<Begun> {
        assert!(self.mesh(ip, port).is_none(), "not at once");
        self.dependents.settle.skip_pause();
        self.mesh(ip, port)
    }
}

fn changes(begun: &Begun) -> Vec<(FactKey, &str, &str, &str)> {
    let all = begun.run.changes.iter();
    all.map(|one| (one.key, &*one.interface, &*one.old, &*one.new))
        .collect()
}

const IP: FactKey = FactKey::MeshIpWireguard;
const PORT: FactKey = FactKey::MeshPortWireguard;

#[tokio::test]
async fn the_first_tunnel_of_a_boot_is_no_change() {
    let mut bench = Bench::new(UNITS);
    assert!(bench.mesh("", "").is_none());
    assert!(bench.mesh("10.9.0.1", "51820").is_none());
    assert!(
        bench.dependents.settle.due.is_none(),
        "nothing is waited for"
    );
    let gone = bench.lasting("", "").unwrap();
    assert_eq!(
        changes(&gone),
        [(IP, "wg0", "10.9.0.1", ""), (PORT, "wg0", "51820", "")]
    );
    bench.end(gone, &["a.service"], NotifyReport::default());
    let back = bench.lasting("10.9.0.1", "51820").unwrap();
    assert_eq!(
        changes(&back),
        [(IP, "wg0", "", "10.9.0.1"), (PORT, "wg0", "", "51820")]
    );
    bench.end(back, &["a.service"], NotifyReport::default());
    assert!(bench.mesh("10.9.0.1", "51820").is_none());
}

#[tokio::test]
async fn a_tunnel_that_is_back_in_time_is_no_change() {
    let mut bench = Bench::new(UNITS);
    bench.mesh("10.9.0.1", "51820");
    for _ in 0..3 {
        assert!(bench.mesh("", "").is_none());
        assert!(bench.dependents.settle.due.is_some());
        assert!(bench.mesh("10.9.0.1", "51820").is_none());
        assert!(bench.dependents.settle.due.is_none());
    }
    let moved = bench.lasting("10.9.0.7", "51820").unwrap();
    assert_eq!(changes(&moved), [(IP, "wg0", "10.9.0.1", "10.9.0.7")]);
}

#[tokio::test]
async fn the_loop_is_woken_when_a_change_has_lasted() {
    let mut bench = Bench::new(UNITS);
    bench.mesh("10.9.0.1", "51820");
    bench.mesh("", "");
    bench.dependents.settle.due = Some(Instant::now());
    bench.dependents.settle.skip_pause();
    let woken = tokio::time::timeout(Duration::from_secs(60), bench.dependents.changed());
    woken.await.unwrap();
    assert!(bench.mesh("", "").is_some());
}

#[tokio::test]
async fn an_unknown_port_is_as_it_was() {
    let mut bench = Bench::new(UNITS);
    bench.mesh("10.9.0.1", "51820");
    let mut unreadable = wg0("10.9.0.1", "");
    unreadable.remove(&PORT);
    assert!(bench.seen(None, &unreadable).is_none());
    assert!(bench.dependents.settle.due.is_none());
}

#[tokio::test]
async fn a_restarted_agent_notifies_nothing_twice() {
    let mut bench = Bench::new(UNITS);
    bench.mesh("10.9.0.1", "51820");
    let mut gone = bench.lasting("", "").unwrap();
    gone.note(&["a.service"]);
    gone.notes.save(&bench.dependents.path);
    bench.start_again();
    let rest = bench.lasting("", "").unwrap();
    for change in &rest.run.changes {
        assert!(change.is_known_to("a.service"), "{change:?}");
        assert_eq!(change.interface, "wg0", "of a tunnel that was lost");
    }
    bench.end(rest, &[], NotifyReport::default());
    bench.start_again();
    assert!(bench.mesh("", "").is_none());
    assert!(bench.dependents.settle.due.is_none());
}

#[tokio::test]
async fn the_address_does_not_wait_for_the_tunnels() {
    let mut bench = Bench::new(UNITS);
    bench.mesh("10.9.0.1", "51820");
    bench.at(1);
    assert!(bench.mesh("", "").is_none());
    let begun = bench.at(2).unwrap();
    assert_eq!(way(&begun), (1, 2));
    bench.end(begun, &["a.service"], NotifyReport::default());
    let gone = bench.lasting("", "").unwrap();
    assert_eq!(gone.run.changes.len(), 2);
}
