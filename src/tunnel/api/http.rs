//! One request of HTTP/1.1 for each connection, of bounded size.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Most bytes of the request line and the headers.
const MAX_HEAD: usize = 8 << 10;
/// Most headers.
const MAX_HEADERS: usize = 32;
/// Most bytes of a body.
const MAX_BODY: usize = 16 << 10;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Without a query.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u16,
    kind: &'static str,
    pub(super) body: Vec<u8>,
}

impl Reply {
    /// Good, and nothing to say.
    pub(super) fn empty() -> Self {
        Self {
            status: 200,
            kind: "text/plain; charset=utf-8",
            body: Vec::new(),
        }
    }

    /// A sentence.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self {
            status,
            body: format!("{text}\n").into_bytes(),
            ..Self::empty()
        }
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self {
            status: 200,
            kind: "application/json",
            body: format!("{value}\n").into_bytes(),
        }
    }
}

/// Why there is no request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// It is to be answered so.
    Reply(Reply),
    /// The client has gone.
    Gone,
}

fn bad(status: u16, text: &str) -> Unreadable {
    Unreadable::Reply(Reply::text(status, text))
}

/// A head: the request without its body, the length of that, how many bytes the head has, and
/// whether the client waits to be asked for the body.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    request: Request,
    length: usize,
    size: usize,
    waits: bool,
}

/// Reads a head; `None` while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<Head>, Unreadable> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let size = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(bad(431, "the headers are too long"));
        }
        Err(error) => return Err(bad(400, &format!("this is no request of HTTP: {error}"))),
    };
    let values = |name: &str| {
        let named = parsed.headers.iter();
        named
            .filter(|header| header.name.eq_ignore_ascii_case(name))
            .map(|header| String::from_utf8_lossy(header.value).trim().to_owned())
            .collect::<Vec<_>>()
    };
    if !values("transfer-encoding").is_empty() {
        return Err(bad(411, "send a body with Content-Length, not in chunks"));
    }
    let length = match &values("content-length")[..] {
        [] => 0,
        [length] if length.bytes().all(|byte| byte.is_ascii_digit()) => {
            length.parse().unwrap_or(usize::MAX)
        }
        _ => return Err(bad(400, "Content-Length is no number")),
    };
    if length > MAX_BODY {
        return Err(bad(413, &format!("a body has at most {MAX_BODY} bytes")));
    }
    let path = parsed.path.unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    Ok(Some(Head {
        request: Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: path.to_owned(),
            body: Vec::new(),
        },
        length,
        size,
        waits: values("expect")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("100-continue")),
    }))
}

/// Reads a request.
pub(super) async fn read(stream: &mut UnixStream) -> Result<Request, Unreadable> {
    let mut bytes = Vec::with_capacity(1024);
    let head = loop {
        if let Some(head) = head(&bytes)? {
            break head;
        }
        more(stream, &mut bytes, MAX_HEAD).await?;
    };
    if head.waits && bytes.len() == head.size && head.length > 0 {
        let go_on = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        go_on.map_err(|_| Unreadable::Gone)?;
    }
    let size = head.size + head.length;
    while bytes.len() < size {
        more(stream, &mut bytes, size).await?;
    }
    let body = bytes.get(head.size..size).unwrap_or_default().to_vec();
    Ok(Request {
        body,
        ..head.request
    })
}

/// Reads some more, up to so many in all.
async fn more(stream: &mut UnixStream, bytes: &mut Vec<u8>, most: usize) -> Result<(), Unreadable> {
    let left = u64::try_from(most.saturating_sub(bytes.len())).unwrap_or(0);
    match stream.take(left).read_buf(bytes).await {
        Ok(0) | Err(_) => Err(Unreadable::Gone),
        Ok(_) => Ok(()),
    }
}

/// Writes an answer; the connection ends with it.
///
/// # Errors
/// The client has gone.
pub(super) async fn write(stream: &mut UnixStream, reply: &Reply) -> std::io::Result<()> {
    let reason = match reply.status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        _ => "Error",
    };
    let (status, kind, length) = (reply.status, reply.kind, reply.body.len());
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(&[head.as_bytes(), &reply.body].concat())
        .await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(bytes: &[u8]) -> u16 {
        match head(bytes) {
            Err(Unreadable::Reply(reply)) => reply.status,
            Err(Unreadable::Gone) => 0,
            Ok(_) => 200,
        }
    }

    #[test]
    fn heads_are_bounded() {
        let post = "POST /x?y HTTP/1.1\r\nHost: unix\r\nContent-Length: 5\r\n\r\nhello";
        let read = head(post.as_bytes()).unwrap().unwrap();
        assert_eq!((read.request.path.as_str(), read.length), ("/x", 5));
        assert_eq!(&post[read.size..], "hello");
        assert_eq!(head(&post.as_bytes()[..20]), Ok(None));
        let long = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(MAX_HEAD));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(MAX_HEADERS + 1)
        );
        for (text, expected) in [
            (long.as_str(), 431),
            (many.as_str(), 431),
            ("\x16\x03\x01\x02\x00", 400),
            ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
            (
                "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                400,
            ),
            (
                "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
                413,
            ),
            ("GET / HTTP/1.1\r\nContent-Length: 16385\r\n\r\n", 413),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        ] {
            assert_eq!(status(text.as_bytes()), expected, "{text:.60}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let with_line = [b"POST / HTTP/1.1\r\n", &bytes[..]].concat();
            for bytes in [bytes, with_line] {
                if let Ok(Some(head)) = head(&bytes) {
                    prop_assert!(head.size <= bytes.len() && head.length <= MAX_BODY);
                }
            }
        }
    }
}
