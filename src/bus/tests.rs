//! The object over a socket pair, with a scripted bus and polkit.

mod pair;

use std::{collections::HashMap, path::Path, sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;
use tokio::time::{sleep, timeout};
use zbus::{
    Variant,
    message::{Flags, Message},
};

use self::pair::{Pair, document};
use super::*;
use crate::control::{NAME, PATH};

const LONG: Duration = Duration::from_secs(30);

const WEB: (&str, &str, &str, u16, u16, &str) = ("web", "tcp", "", 8080, 0, "");

#[tokio::test]
async fn root_needs_no_polkit() {
    let pair = Pair::new().await;
    pair.is(0, None);
    let answer = pair.ask("Reapply").await.unwrap();
    let changes: Vec<String> = answer.body().deserialize().unwrap();
    assert_eq!(changes, ["eth0 mtu 1280 -> 1340"]);
    pair.ask("Reload").await.unwrap();
    let answer = pair.call(":1.7", "AddForward", None, &WEB).await.unwrap();
    let path: String = answer.body().deserialize().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("connect-port = 8080\nfirewall = \"local\""),
        "{text}"
    );
    let answer = pair.call(":1.7", "RemoveForward", None, &"web").await;
    assert_eq!(
        answer.unwrap().body().deserialize::<String>().unwrap(),
        path
    );
    assert!(!Path::new(&path).exists());
    assert_eq!(pair.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn polkit_is_asked_for_each_action() {
    let pair = Pair::new().await;
    pair.is(1000, Some((true, 0)));
    pair.ask("Reapply").await.unwrap();
    pair.ask("Reload").await.unwrap();
    pair.call(":1.7", "AddForward", None, &WEB).await.unwrap();
    let by_hand = Some(Flags::ALLOW_INTERACTIVE_AUTH);
    pair.call(":1.7", "RemoveForward", by_hand, &"web")
        .await
        .unwrap();
    let asked = pair.asked();
    let says = |action: &str, end: &str| {
        format!("system-bus-name \":1.7\" org.wslmesh.Agent1.{action} {end}")
    };
    assert_eq!(
        asked,
        [
            says("reapply", "0 "),
            says("reload", "0 "),
            says("manage-forwards", "0 "),
            says("manage-forwards", "1 :1.7/0"),
        ]
    );
}

#[tokio::test]
async fn denied_calls_say_who_may() {
    let pair = Pair::new().await;
    for verdict in [Some((false, 0)), None] {
        pair.is(1000, verdict);
        for (method, remediation) in [
            ("Reapply", "sudo systemctl reload wslmesh"),
            ("Reload", "sudo systemctl reload wslmesh"),
        ] {
            let (name, text) = pair.ask(method).await.unwrap_err();
            assert_eq!(name, "Denied");
            assert!(
                text.starts_with("only root") && text.ends_with(remediation),
                "{text}"
            );
        }
        let answers = [
            pair.call(":1.7", "AddForward", None, &WEB).await,
            pair.call(":1.7", "RemoveForward", None, &"web").await,
        ];
        for answer in answers {
            let (name, text) = answer.unwrap_err();
            assert_eq!(name, "Denied");
            assert!(text.contains("sudo wslmesh forward"), "{text}");
        }
    }
    assert_eq!(pair.passes.load(Ordering::Relaxed), 0, "the loop was asked");
    assert_eq!(std::fs::read_dir(pair.folder.path()).unwrap().count(), 1);
    // What all users may.
    pair.ask("ListForwards").await.unwrap();
    let answer = pair.ask("Describe").await.unwrap();
    let text: String = answer.body().deserialize().unwrap();
    let published: Document = serde_json::from_str(&text).unwrap();
    let expected = Document {
        wireguard: Some(Vec::new()),
        ..document("active", "")
    };
    assert_eq!(published, expected);
}

#[tokio::test]
async fn a_hanging_polkit_is_not_waited_for_and_not_flooded() {
    let pair = Pair::new().await;
    pair.is(1000, Some((true, 60_000)));
    let senders: Vec<String> = (0..40).map(|n| format!(":1.{n}")).collect();
    let calls = senders
        .iter()
        .map(|sender| pair.call(sender, "Reload", None, &()));
    let answers = join_all(calls).await;
    let count = |kind: &str| {
        let of = |answer: &&Result<Message, (String, String)>| {
            answer.as_ref().is_err_and(|(name, _)| name == kind)
        };
        answers.iter().filter(of).count()
    };
    assert_eq!((count("Denied"), count("Busy")), (4, 36));
    assert_eq!(pair.script.most.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_possible_password_prompt_has_its_own_error() {
    let pair = Pair::new().await;
    pair.is(1000, Some((false, 0)));
    pair.script.challenges.store(true, Ordering::Relaxed);
    let (name, text) = pair.ask("Reload").await.unwrap_err();
    assert_eq!(
        name,
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
    );
    assert!(
        text.contains("only root") && text.ends_with("sudo systemctl reload wslmesh"),
        "{text}"
    );
    // Who was asked and did not know it is not asked again.
    let by_hand = Some(Flags::ALLOW_INTERACTIVE_AUTH);
    let (name, _) = pair.call(":1.7", "Reload", by_hand, &()).await.unwrap_err();
    assert_eq!(name, "Denied");
}

/// polkit refuses the name of a dialogue that there is already.
#[tokio::test]
async fn each_dialogue_has_a_name_and_ends_with_its_caller() {
    let pair = Pair::new().await;
    pair.is(1000, Some((true, 60_000)));
    let by_hand = Some(Flags::ALLOW_INTERACTIVE_AUTH);
    let reload = || pair.call(":1.7", "Reload", by_hand, &());
    let leave = async || {
        while pair.script.open.load(Ordering::Relaxed) < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        for (sender, gone) in [
            // Another's word, and another's end.
            (":1.9", ":1.7"),
            ("org.freedesktop.DBus", ":1.8"),
            ("org.freedesktop.DBus", ":1.7"),
        ] {
            assert!(pair.script.ended.lock().unwrap().is_empty());
            let change = Message::signal(PATH, "org.freedesktop.DBus", "NameOwnerChanged");
            let change = change.sender(sender).build(&(gone, gone, "")).unwrap();
            pair.theirs.send(&change).await.unwrap();
            sleep(Duration::from_millis(20)).await;
        }
    };
    let all = async { tokio::join!(reload(), reload(), leave()) };
    let (first, second, ()) = timeout(LONG, all).await.unwrap();
    assert_eq!(first.unwrap_err().0, "Denied");
    assert_eq!(second.unwrap_err().0, "Denied");
    let mut ended = std::mem::take(&mut *pair.script.ended.lock().unwrap());
    ended.sort();
    assert_eq!(ended, [":1.7/0", ":1.7/1"]);
    // Their places are free again.
    pair.is(1000, Some((true, 0)));
    pair.ask("Reload").await.unwrap();
}

#[tokio::test]
async fn one_caller_has_few_calls_in_flight_and_all_are_answered_by_few_passes() {
    let pair = Pair::new().await;
    pair.is(0, None);
    let calls = (0..100).map(|_| pair.ask("Reapply"));
    let answers = join_all(calls).await;
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    for answer in &answers {
        if let Err((name, text)) = answer {
            assert!(
                name == "Busy" && text.contains("wait for an answer"),
                "{name}: {text}"
            );
        }
    }
    let passes = pair.passes.load(Ordering::Relaxed);
    assert!(good >= 8, "{good}");
    assert!(passes * 4 <= good, "{passes} passes for {good} answers");
    // Callers are forgotten.
    pair.ask("Reapply").await.unwrap();
}

/// Neither while the bus is asked who they are, nor while they are answered.
#[tokio::test]
async fn one_user_with_many_connections_does_not_lock_root_out() {
    let pair = Pair::new().await;
    pair.is(1000, Some((false, 300)));
    pair.script.thinks.store(100, Ordering::Relaxed);
    let senders: Vec<String> = (0..16).map(|n| format!(":1.{n}")).collect();
    let others = senders.iter().flat_map(|sender| {
        let method = |n: usize| ["Describe", "ListForwards", "Reload"][n % 3];
        let pair = &pair;
        (0..8).map(move |n| pair.call(sender, method(n), None, &()))
    });
    let root = async {
        for method in ["Describe", "ListForwards", "Reload", "Reapply"] {
            pair.call(":1.root", method, None, &()).await.unwrap();
        }
        pair.call(":1.root", "AddForward", None, &WEB)
            .await
            .unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(others), root);
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    assert!((32..128).contains(&refused), "{refused} of 128 are refused");
    // Each connection is asked about once while it has calls in flight.
    let lookups = pair.script.lookups.load(Ordering::Relaxed);
    assert!((17..=16 + 5).contains(&lookups), "{lookups} questions");
}

#[tokio::test]
async fn a_large_call_is_refused_before_polkit_is_asked() {
    let pair = Pair::new().await;
    pair.is(1000, Some((true, 60_000)));
    let huge = "x".repeat(5000);
    let add = (huge.as_str(), "tcp", "", 8080_u16, 0_u16, "");
    let answers = [
        pair.call(":1.7", "AddForward", None, &add).await,
        pair.call(":1.7", "RemoveForward", None, &huge).await,
    ];
    for answer in answers {
        let (_, text) = answer.unwrap_err();
        assert!(
            text.contains("bytes, more than any right ones (4096)"),
            "{text}"
        );
    }
    // Arguments that a method does not have.
    for method in ["Reload", "Reapply", "Describe", "ListForwards"] {
        let (_, text) = pair.call(":1.7", method, None, &huge).await.unwrap_err();
        assert!(text.contains("Signature mismatch"), "{text}");
    }
    assert_eq!(pair.script.lookups.load(Ordering::Relaxed), 0);
    // What is wrong in a smaller one is said by the arguments, not by polkit.
    let wrong = ("web", "icmp", "", 8080_u16, 0_u16, "");
    let long = "x".repeat(65);
    for answer in [
        pair.call(":1.7", "AddForward", None, &wrong).await,
        pair.call(":1.7", "RemoveForward", None, &long).await,
    ] {
        assert_eq!(answer.unwrap_err().0, "Forward");
    }
    assert_eq!(pair.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn a_configuration_with_errors_is_reported_in_full() {
    let pair = Pair::new().await;
    pair.is(0, None);
    let main = pair.folder.path().join("w.toml");
    std::fs::write(&main, "[mtu]\nvalue = 12\n").unwrap();
    let (name, text) = pair.ask("Reload").await.unwrap_err();
    assert_eq!(name, "Config");
    assert!(text.contains("w.toml:2:9: "), "{text}");
    let (name, _) = pair
        .call(":1.7", "AddForward", None, &WEB)
        .await
        .unwrap_err();
    assert_eq!(name, "Config");
    let (name, text) = pair
        .call(":1.7", "RemoveForward", None, &"a b")
        .await
        .unwrap_err();
    assert!(
        name == "Forward" && text.contains("letters"),
        "{name}: {text}"
    );
}

#[tokio::test]
async fn a_standby_names_the_leader_and_takes_its_own_forwards() {
    let pair = Pair::new().await;
    let health = r#"{"code":"standby","severity":"info","subject":"","detail":"process 7 leads","remediation":"Nothing to do"}"#;
    pair.bus.publish(document("standby", health), Vec::new());
    pair.is(0, None);
    let (name, text) = pair.ask("Reapply").await.unwrap_err();
    assert_eq!(
        (name.as_str(), text.as_str()),
        ("Busy", "this agent is on standby: process 7 leads")
    );
    pair.ask("Reload").await.unwrap();
    pair.ask("Describe").await.unwrap();
}

/// D-Bus ends the connection of a program that sends one.
#[tokio::test]
async fn no_nul_reaches_the_bus() {
    let pair = Pair::new().await;
    pair.is(0, None);
    let main = pair.folder.path().join("w.toml");
    std::fs::write(&main, "\"a\\u0000b\" = 1\n").unwrap();
    let (name, text) = pair.ask("Reload").await.unwrap_err();
    assert!(name == "Config" && !text.contains('\0'), "{name}: {text:?}");
    let health = r#"{"code":"config-rejected","severity":"warning","subject":"a\u0000b","detail":"\u0000","remediation":"x"}"#;
    let ill = Document {
        network_file: "/etc/a\0b".into(),
        ..document("active", health)
    };
    pair.bus.publish(ill, Vec::new());
    let shown = format!("{:?}", pair.signalled().await);
    assert!(shown.contains("/etc/a\u{fffd}b") && shown.contains("config-rejected"));
    assert!(!shown.contains("\\0") && !shown.contains('\0'), "{shown}");
}

/// The interface as it says itself, as a file.
async fn introspected() -> String {
    let pair = Pair::new().await;
    let answer = pair.theirs.call_method(
        None::<&str>,
        PATH,
        Some("org.freedesktop.DBus.Introspectable"),
        "Introspect",
        &(),
    );
    let text: String = answer.await.unwrap().body().deserialize().unwrap();
    let start = format!("<interface name=\"{NAME}\">");
    let (_, interface) = text.split_once(&start).unwrap();
    let (interface, _) = interface.split_once("</interface>").unwrap();
    format!(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n  \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n<!-- Made from src/bus/interface.rs -->\n<node name=\"{PATH}\">\n  {start}{interface}</interface>\n</node>\n"
    )
}

#[tokio::test]
async fn the_installed_introspection_matches_the_object() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dbus/org.wslmesh.Agent1.xml");
    let said = introspected().await;
    if std::env::var_os("WSLMESH_WRITE_DOCS").is_some() {
        std::fs::write(&path, &said).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == said,
        "{} is not current: WSLMESH_WRITE_DOCS=1 cargo test --lib bus",
        path.display()
    );
}

/// Every property whose changes are signalled has the value that is read.
#[tokio::test]
async fn signalled_values_are_read_values() {
    let pair = Pair::new().await;
    let answer = pair.theirs.call_method(
        None::<&str>,
        PATH,
        Some("org.freedesktop.DBus.Properties"),
        "GetAll",
        &NAME,
    );
    let answer = answer.await.unwrap().body();
    let mut read: HashMap<&str, Variant<'_>> = answer.deserialize().unwrap();
    assert_eq!(
        read.remove("Version"),
        Some(env!("CARGO_PKG_VERSION").into())
    );
    assert_eq!(read.remove("Passes"), Some(7_u64.into()));
    let before = pair.signalled().await;
    assert_eq!(before, read);
    let document = document("active", "");
    let now = Document {
        passes: 9,
        last_pass_us: 5,
        ..document.clone()
    };
    pair.bus.publish(now, Vec::new());
    assert!(properties::changed(&before, &pair.signalled().await).is_empty());
    let now = Document {
        address: None,
        ..document
    };
    pair.bus.publish(now, Vec::new());
    assert_eq!(
        properties::changed(&before, &pair.signalled().await),
        HashMap::from([("Address", &"".into())])
    );
}
