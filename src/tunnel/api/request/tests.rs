use proptest::prelude::*;

use super::*;

fn expose(body: &str) -> Result<TunnelForward, (u16, String)> {
    match call("POST", "/services/forwarder/expose", body.as_bytes()) {
        Ok(Call::Expose(forward)) => Ok(forward),
        Ok(other) => panic!("{other:?}"),
        Err(reply) => Err((reply.status, String::from_utf8(reply.body).unwrap())),
    }
}

#[test]
fn requests_of_gvproxy_s_readme_are_understood() {
    let forward = expose(r#"{"local":":6443","remote":"192.168.127.2:6443"}"#).unwrap();
    assert_eq!(forward.listen.to_string(), "tcp [::]:6443");
    assert_eq!(forward.guest, Some(GUEST_V4.into()));
    assert_eq!(forward.guest_port.get(), 6443);
    let shown = exposed(&forward).to_string();
    assert_eq!(
        shown,
        r#"{"local":":6443","remote":"192.168.127.2:6443","protocol":"tcp"}"#
    );
    let at = call(
        "POST",
        "/services/forwarder/unexpose",
        br#"{"local":":6443"}"#,
    );
    assert_eq!(at, Ok(Call::Unexpose(forward.listen)));
    assert_eq!(call("GET", "/services/forwarder/all", b""), Ok(Call::All));
    assert_eq!(call("GET", "/stats", b""), Ok(Call::Stats));
    let udp =
        r#"{"local":"localhost:53","remote":"[fd77:736c:6d73::2]:54","protocol":"udp","more":1}"#;
    let forward = expose(udp).unwrap();
    assert_eq!(forward.listen.to_string(), "udp 127.0.0.1:53");
    assert_eq!(
        exposed(&forward).to_string(),
        r#"{"local":"127.0.0.1:53","remote":"[fd77:736c:6d73::2]:54","protocol":"udp"}"#
    );
}

#[test]
fn what_is_wrong_is_said_in_a_sentence() {
    let remote = |remote: &str| format!(r#"{{"local":":1","remote":"{remote}"}}"#);
    let local = |local: &str| format!(r#"{{"local":"{local}","remote":"192.168.127.2:1"}}"#);
    for (body, said) in [
        (String::new(), "the body is not as {"),
        ("{}".to_owned(), "missing field `local`"),
        (r#"{"local":1,"remote":":1"}"#.to_owned(), "invalid type"),
        (
            r#"{"local":":1"}"#.to_owned(),
            "write \"192.168.127.2:PORT\"",
        ),
        (remote("192.168.127.3:80"), "write \"192.168.127.2:PORT\""),
        (remote("192.168.127.2"), "write \"192.168.127.2:PORT\""),
        (remote("192.168.127.2:0"), "write \"192.168.127.2:PORT\""),
        (remote(":80"), "write \"192.168.127.2:PORT\""),
        (remote("localhost:80"), "write \"192.168.127.2:PORT\""),
        (local(""), "write \":PORT\""),
        (local(":0"), "write \":PORT\""),
        (local(":65536"), "write \":PORT\""),
        (local(":+1"), "write \":PORT\""),
        (local("80"), "write \":PORT\""),
        (local("example.com:80"), "write \":PORT\""),
        (local("224.0.0.1:80"), "write \":PORT\""),
        (local("[::ffff:127.0.0.1]:80"), "write \":PORT\""),
        (local("/tmp/socket"), "write \":PORT\""),
        (
            local(":1").replace("}", r#","protocol":"unix"}"#),
            "protocol \"unix\" is not forwarded: write \"tcp\" or \"udp\"",
        ),
    ] {
        let (status, text) = expose(&body).unwrap_err();
        assert_eq!(status, 400, "{body}");
        assert!(text.contains(said), "{body}: {text}");
    }
    for (method, path, status) in [
        ("GET", "/services/forwarder/expose", 405),
        ("PUT", "/services/forwarder/unexpose", 405),
        ("POST", "/stats", 405),
        ("GET", "/", 404),
        ("GET", "/services/forwarder/all/", 404),
    ] {
        let refused = call(method, path, b"{}").unwrap_err();
        assert_eq!(refused.status, status, "{method} {path}");
    }
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(local in ".{0,30}", remote in ".{0,30}", bytes: Vec<u8>) {
        let body = json!({"local": local, "remote": remote}).to_string();
        for body in [body.as_bytes(), &bytes] {
            for path in ["/services/forwarder/expose", "/services/forwarder/unexpose"] {
                if let Err(reply) = call("POST", path, body) {
                    prop_assert_eq!(reply.status, 400);
                }
            }
        }
    }
}
