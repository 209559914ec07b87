use super::*;

fn name(text: &str) -> InterfaceName {
    InterfaceName::new(text).unwrap()
}

fn found() -> Online {
    Online {
        node: Ok("eth0 172.28.16.5".to_owned()),
        tunnels: vec![
            (name("wg0"), Ok("10.9.0.1, handshake 3 s ago".to_owned())),
            (
                name("tailscale0"),
                Err("there is no such interface".to_owned()),
            ),
        ],
    }
}

#[test]
fn what_is_reached_is_one_line() {
    let took = Duration::from_millis(2340);
    assert_eq!(
        reached(&found(), took),
        "online after 2.3 s: eth0 172.28.16.5; wg0 10.9.0.1, handshake 3 s ago"
    );
    let alone = Online {
        tunnels: Vec::new(),
        ..found()
    };
    assert_eq!(
        reached(&alone, took),
        "online after 2.3 s: eth0 172.28.16.5; no tunnel is configured"
    );
}

#[tokio::test]
async fn what_is_missing_is_named_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths {
        state: folder.path().to_owned(),
        runtime: folder.path().to_owned(),
        lib: folder.path().to_owned(),
    };
    let tunnels = [
        (name("wg0"), "--interface".to_owned()),
        (
            name("tailscale0"),
            "tailscaled.service is enabled".to_owned(),
        ),
    ];
    let waiting = Waiting::new(crate::config::settings(""), tunnels.into(), paths);
    let waiting = waiting.await.unwrap();
    assert_eq!(
        waiting.missing(&found(), 30).lines().collect::<Vec<_>>(),
        [
            "not online after 30 s",
            "the tunnel tailscale0: there is no such interface (waited for: tailscaled.service is enabled)",
            "more: wslmesh doctor; systemctl status tailscaled.service",
        ]
    );
    let offline = Online {
        node: Err("eth0 has no address".to_owned()),
        tunnels: Vec::new(),
    };
    assert_eq!(
        waiting.missing(&offline, 30).lines().collect::<Vec<_>>(),
        [
            "not online after 30 s",
            "the node: eth0 has no address (the agent is not running: systemctl start wslmesh)",
            "more: wslmesh doctor; journalctl -b -u wslmesh",
        ]
    );
}
