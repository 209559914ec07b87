use std::cell::RefCell;

use super::*;
use crate::model::InterfaceName;

/// A systemd-resolved in memory.
#[derive(Default)]
struct Fake {
    links: RefCell<BTreeMap<u32, LinkDns>>,
    /// Domains that do not resolve.
    dead: Vec<&'static str>,
    /// What it does not take.
    deaf: bool,
}

impl ZoneServers for Fake {
    async fn link(&self, index: u32) -> Result<LinkDns, UnitsError> {
        let links = self.links.borrow();
        let found = links.get(&index).cloned();
        found.ok_or_else(|| UnitsError::Refused(format!("Link {index} not known")))
    }

    async fn set(&self, index: u32, to: &LinkDns) -> Result<(), UnitsError> {
        if !self.deaf {
            self.links.borrow_mut().insert(index, to.clone());
        }
        Ok(())
    }

    async fn revert(&self, index: u32) -> Result<(), UnitsError> {
        self.links.borrow_mut().insert(index, LinkDns::default());
        Ok(())
    }

    async fn resolve(&self, zone: &Zone) -> Result<(), String> {
        match self.dead.contains(&zone.as_str()) {
            true => Err("no answer within 6 s".to_owned()),
            false => Ok(()),
        }
    }
}

/// A link that systemd-resolved knows.
fn with_link(index: u32, dns: LinkDns) -> Fake {
    Fake {
        links: RefCell::new([(index, dns)].into()),
        ..Fake::default()
    }
}

fn plan(zones: &[&str], server: [u8; 4]) -> DnsPlan {
    let link = LinkZones {
        name: InterfaceName::new("wg0").unwrap(),
        servers: vec![server.into()],
        zones: zones
            .iter()
            .map(|zone| Zone::parse(zone).unwrap())
            .collect(),
    };
    DnsPlan {
        zones: [(3, link)].into(),
        ..DnsPlan::default()
    }
}

/// One run with this systemd-resolved, and what is saved then.
async fn run(plan: &DnsPlan, fake: &Fake, folder: &tempfile::TempDir) -> (Looked, Vec<u32>) {
    let saves = Saves(Saved::new(folder.path()), SingleFlight::default());
    let ours = saves.load().await.unwrap();
    let mut looked = Looked::default();
    keep_zones(plan, fake, &ours, &saves, &mut looked).await;
    let kept = saves.load().await.unwrap().into_keys().collect();
    (looked, kept)
}

fn codes(looked: &Looked) -> Vec<Code> {
    looked.findings.iter().map(|one| one.code).collect()
}

#[tokio::test]
async fn a_zone_comes_changes_and_goes() {
    let folder = tempfile::tempdir().unwrap();
    let fake = with_link(3, LinkDns::default());
    let first = plan(&["a.internal"], [10, 10, 0, 1]);
    let (looked, kept) = run(&first, &fake, &folder).await;
    assert_eq!(looked.changes, ["wg0 name servers 10.10.0.1 ~a.internal"]);
    assert_eq!((codes(&looked), kept), (vec![], vec![3]));
    assert_eq!(looked.working.len(), 1);

    let (looked, _) = run(&first, &fake, &folder).await;
    assert!(looked.changes.is_empty(), "it is as it should be");

    let second = plan(&["a.internal", "b.internal"], [10, 10, 0, 2]);
    let (looked, _) = run(&second, &fake, &folder).await;
    let line = "wg0 name servers 10.10.0.2 ~a.internal ~b.internal";
    assert_eq!(looked.changes, [line]);

    let (looked, kept) = run(&DnsPlan::default(), &fake, &folder).await;
    assert_eq!(looked.changes, [format!("{line} -> none")]);
    assert!(kept.is_empty());
    assert!(fake.links.borrow()[&3].is_empty());
    let (looked, _) = run(&DnsPlan::default(), &fake, &folder).await;
    assert!(looked.changes.is_empty());
}

#[tokio::test]
async fn another_program_keeps_its_servers() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = LinkDns {
        servers: vec![[10, 9, 9, 9].into()],
        domains: vec![("corp.example".into(), false)],
        default_route: true,
    };
    let fake = with_link(3, theirs.clone());
    let wanted = plan(&["a.internal"], [10, 10, 0, 1]);
    let (looked, kept) = run(&wanted, &fake, &folder).await;
    assert_eq!((codes(&looked), kept), (vec![Code::ZoneTaken], vec![]));
    assert_eq!(fake.links.borrow()[&3], theirs);

    // It took over what was ours: it stays when the zone goes.
    *fake.links.borrow_mut() = [(3, LinkDns::default())].into();
    run(&wanted, &fake, &folder).await;
    *fake.links.borrow_mut() = [(3, theirs.clone())].into();
    let (looked, kept) = run(&DnsPlan::default(), &fake, &folder).await;
    assert!(looked.changes.is_empty() && looked.findings.is_empty() && kept.is_empty());
    assert_eq!(fake.links.borrow()[&3], theirs);
}

#[tokio::test]
async fn what_does_not_work_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = plan(&["a.internal", "b.internal"], [10, 10, 0, 1]);
    let mut fake = with_link(3, LinkDns::default());
    fake.dead = vec!["b.internal"];
    let (looked, _) = run(&wanted, &fake, &folder).await;
    assert_eq!(codes(&looked), [Code::ZoneFailed]);
    assert_eq!(looked.findings[0].subject, "b.internal");
    assert_eq!(looked.working.len(), 1);

    let deaf = Fake {
        deaf: true,
        ..with_link(3, LinkDns::default())
    };
    let (looked, _) = run(&wanted, &deaf, &folder).await;
    assert_eq!(codes(&looked), [Code::ZoneFailed]);
    assert!(looked.findings[0].detail.contains("reads back as"));

    // A link that systemd-resolved does not know yet; and one that went with its zone.
    let (looked, kept) = run(&wanted, &Fake::default(), &folder).await;
    assert_eq!((codes(&looked), kept), (vec![Code::ZoneFailed], vec![3]));
    let (looked, kept) = run(&DnsPlan::default(), &Fake::default(), &folder).await;
    assert_eq!((codes(&looked), kept), (vec![], vec![]));

    // Without a note of it nothing is set.
    let blocked = folder.path().join("file");
    fs::write(&blocked, "").unwrap();
    let saves = Saves(Saved::new(&blocked.join("x")), SingleFlight::default());
    let fake = with_link(3, LinkDns::default());
    let mut looked = Looked::default();
    keep_zones(&wanted, &fake, &BTreeMap::new(), &saves, &mut looked).await;
    assert_eq!(codes(&looked), [Code::StateUnwritable]);
    assert!(fake.links.borrow()[&3].is_empty());
}

#[test]
fn who_asks_resolved() {
    for (text, expected) in [
        ("hosts: files dns\n", false),
        (
            "hosts:\tmymachines resolve [!UNAVAIL=return] files myhostname dns\n",
            true,
        ),
        ("passwd: resolve\n# hosts: resolve\n", false),
        ("", false),
    ] {
        assert_eq!(asks_resolved(text), expected, "{text}");
    }
}

/// A look is made for a reason, and again only while something is wrong.
#[tokio::test]
async fn looks_have_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths {
        state: folder.path().to_owned(),
        runtime: folder.path().to_owned(),
        lib: folder.path().to_owned(),
    };
    let settings = Settings::default();
    let mut dns = Dns::new(&paths);
    let first = DnsPlan::default();
    dns.once(&settings, &first).await;
    assert!(dns.looked().findings.is_empty());
    dns.follow(&settings, &first);
    assert!(
        dns.run.is_empty() && dns.retry.due.is_none(),
        "nothing is due"
    );

    let moved = DnsPlan {
        address: Some([172, 19, 3, 4].into()),
        ..first.clone()
    };
    dns.follow(&settings, &moved);
    assert!(!dns.run.is_empty(), "another address is a reason");
    dns.changed().await;

    dns.look_again();
    dns.follow(&settings, &moved);
    assert!(!dns.run.is_empty(), "a reload is one");
    dns.changed().await;

    let wrong = Looked {
        findings: vec![Finding::new(Code::DnsUnanswered, "", "")],
        ..Looked::default()
    };
    dns.record(wrong, Instant::now());
    dns.follow(&settings, &moved);
    assert!(dns.run.is_empty() && dns.retry.due.is_some(), "not at once");
    dns.retry.due = None;
    dns.follow(&settings, &moved);
    assert!(!dns.run.is_empty(), "but later");
    dns.changed().await;
    assert!(dns.retry.due.is_none(), "it cleared");
}
