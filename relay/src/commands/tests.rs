use std::io::{self, ErrorKind};

use proptest::prelude::*;

use super::*;

/// Reads at most so many bytes at a time, and is interrupted in between.
struct Trickle<'a> {
    rest: &'a [u8],
    most: usize,
    interrupted: bool,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let length = self.most.min(buffer.len()).min(self.rest.len());
        let (now, later) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = later;
        Ok(length)
    }
}

/// The lines of an input, `None` for an invalid one.
fn lines(input: &[u8], most: usize) -> Vec<(u64, Option<Vec<u8>>)> {
    let mut input = BufReader::new(Trickle {
        rest: input,
        most,
        interrupted: false,
    });
    let lines = iter::from_fn(|| read_line(&mut input));
    (1..).zip(lines.map(Result::ok)).collect()
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_read_sizes(
        input in "[a\n\r]{0,40}",
        most in 1_usize..10,
    ) {
        let mut wanted: Vec<_> = (1..)
            .zip(input.split('\n'))
            .map(|(number, line)| (number, Some(line.as_bytes().to_vec())))
            .collect();
        // What follows the last end of a line is a truncated line, or nothing.
        if let Some((number, rest)) = wanted.pop() && rest.is_some_and(|rest| !rest.is_empty()) {
            wanted.push((number, None));
        }
        prop_assert_eq!(lines(input.as_bytes(), most), wanted);
    }

    #[test]
    fn any_line_gives_a_printable_reason(line in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(reason) = parse(&line) {
            let reason = printable(&reason);
            prop_assert!(reason.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(reason.len() <= MAX_REASON);
        }
    }
}

#[test]
fn line_that_is_too_long_is_one_error() {
    let mut input = vec![b'x'; MAX_LINE];
    input.push(b'\n');
    input.extend(vec![b'y'; MAX_LINE + 1]);
    input.extend(b"\nz\n");
    let lines = lines(&input, 5000);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], (1, Some(vec![b'x'; MAX_LINE])));
    assert_eq!(lines[1], (2, None));
    assert_eq!(lines[2], (3, Some(b"z".to_vec())));
}

#[test]
fn quoted_line_gives_a_short_reason() {
    let line = format!("{{\"command\":\"{}\"}}", "\u{e9}\u{7}".repeat(1000));
    let Err(reason) = parse(line.replace('\u{7}', "\\u0007").as_bytes()) else {
        panic!("a command");
    };
    let reason = printable(&reason);
    assert_eq!(reason.len(), MAX_REASON);
    assert!(reason.contains("??"), "{reason}");
}
