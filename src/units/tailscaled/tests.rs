use super::*;

#[test]
fn an_answer_is_a_success_or_has_a_reason() {
    for (answer, expected) in [
        (
            "HTTP/1.1 200 OK\r\nTailscale-Cap: 113\r\n\r\ndone\n",
            Ok(()),
        ),
        ("HTTP/1.0 204 No Content\r\n\r\n", Ok(())),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\ndebug access denied\n",
            Err("it answered 403 debug access denied"),
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n\r\nunknown action \"restun\"\nmore",
            Err("it answered 400 unknown action \"restun\""),
        ),
        ("HTTP/1.1 200", Ok(())),
        ("", Err("it answered \"\"")),
        ("SSH-2.0-x\r\n", Err("it answered \"SSH-2.0-x\"")),
        (
            "HTTP/1.1 okay\r\n\r\n",
            Err("it answered \"HTTP/1.1 okay\""),
        ),
        (
            "HTTP/1.1 99999\r\n\r\n",
            Err("it answered \"HTTP/1.1 99999\""),
        ),
    ] {
        let expected = expected.map_err(str::to_owned);
        assert_eq!(judge(answer.as_bytes()), expected, "{answer}");
    }
    assert!(judge(&[0xff; 4096]).is_err());
}

#[tokio::test]
async fn without_a_socket_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    for _ in 0..2 {
        let asked = ask_tailscaled(&socket, TailscaleCall::Restun).await;
        assert_eq!(asked, Ok(false));
        // Its listener has ended, and left it behind.
        drop(std::os::unix::net::UnixListener::bind(&socket));
    }
}
