//! The text of WSL's files, and where each part of it is in the file.

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16Le,
}

/// A file's text as WSL reads it. What is no text reads as U+FFFD.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) text: String,
    /// Whether a line ends as on Windows.
    pub(super) crlf: bool,
    encoding: Encoding,
    /// Where the file has each byte of the text, and its end.
    places: Vec<usize>,
}

impl Text {
    /// The text of /etc/wsl.conf, with all that it has.
    pub(super) fn conf(bytes: &[u8]) -> Self {
        let mut text = Self::new(Encoding::Utf8);
        text.add_utf8(bytes, 0, false);
        text
    }

    /// The text of .wslconfig. Windows reads UTF-8, and UTF-16 with a byte order mark
    /// (`fopen` with `ccs=UTF-8`), and takes CRLF for a newline; `None` for a UTF-16 that
    /// it does not read.
    pub(super) fn config(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xfe, rest @ ..] => {
                let mut text = Self::new(Encoding::Utf16Le);
                text.add_utf16(rest, 2);
                Some(text)
            }
            [0xfe, 0xff, ..] => None,
            bytes => {
                let mut text = Self::new(Encoding::Utf8);
                let rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
                text.add_utf8(rest, bytes.len() - rest.len(), true);
                Some(text)
            }
        }
    }

    fn new(encoding: Encoding) -> Self {
        Self {
            text: String::new(),
            crlf: false,
            encoding,
            places: Vec::new(),
        }
    }

    /// Where the file has what is at this place of the text.
    pub(super) fn place(&self, at: usize) -> usize {
        let last = self.places.last().copied().unwrap_or_default();
        self.places.get(at).copied().unwrap_or(last)
    }

    /// A piece of text as the file would have it.
    pub(super) fn encode(&self, piece: &str) -> Vec<u8> {
        match self.encoding {
            Encoding::Utf8 => piece.as_bytes().to_vec(),
            Encoding::Utf16Le => piece.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        }
    }

    fn add_utf8(&mut self, bytes: &[u8], mut at: usize, windows: bool) {
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                self.add(c, at, windows);
                at += c.len_utf8();
            }
            if !chunk.invalid().is_empty() {
                self.add('\u{fffd}', at, windows);
                at += chunk.invalid().len();
            }
        }
        self.places.push(at);
    }

    fn add_utf16(&mut self, bytes: &[u8], mut at: usize) {
        let units = bytes
            .chunks_exact(2)
            .filter_map(|unit| unit.try_into().ok());
        for c in char::decode_utf16(units.map(u16::from_le_bytes)) {
            let c = c.unwrap_or('\u{fffd}');
            self.add(c, at, true);
            at += 2 * c.len_utf16();
        }
        self.places.push(at);
    }

    /// Adds a character; where `windows`, CRLF is one.
    fn add(&mut self, c: char, at: usize, windows: bool) {
        if c == '\n' && self.text.ends_with('\r') {
            self.crlf = true;
            if windows {
                self.text.pop();
                self.text.push(c);
                return;
            }
        }
        self.text.push(c);
        self.places.extend(std::iter::repeat_n(at, c.len_utf8()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let text = Text::config(b"\xef\xbb\xbfa\r\n\xff\xc3\xa4\rb").unwrap();
        assert_eq!(text.text, "a\n\u{fffd}\u{e4}\rb");
        assert!(text.crlf);
        let place = |c| text.place(text.text.find(c).unwrap());
        let found = ['a', '\n', '\u{fffd}', '\u{e4}', '\r', 'b'].map(place);
        assert_eq!(found, [3, 4, 6, 7, 9, 10]);
        assert_eq!(text.place(text.text.len()), 11);

        // A half of a pair, and a byte that is none.
        let text = Text::config(b"\xff\xfea\0\r\0\n\0\x3d\xd8\0\xdc\x3d\xd8b\0c").unwrap();
        assert_eq!(text.text, "a\n\u{1f400}\u{fffd}b");
        let place = |c| text.place(text.text.find(c).unwrap());
        let found = ['a', '\n', '\u{1f400}', '\u{fffd}', 'b'].map(place);
        assert_eq!(found, [2, 4, 8, 12, 14]);
        assert_eq!(text.place(text.text.len()), 16);
        assert_eq!(text.encode("\u{e4}\n"), b"\xe4\0\n\0");

        let text = Text::conf(b"a\r\nb");
        assert_eq!((text.text.as_str(), text.crlf), ("a\r\nb", true));
        assert!(Text::config(b"\xfe\xff\0a").is_none());
        assert_eq!(Text::conf(b"").place(0), 0);
    }
}
