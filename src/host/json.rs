//! One JSON object to a script, one from it, both of the contract's version.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::forbidden;
use crate::{
    interop::Output,
    model::{Code, excerpt},
};

/// The version of the contract that this agent and its scripts speak.
pub(super) const VERSION: u32 = 1;

/// A request as a script reads it: its version and content, ASCII, one line, ended
/// by a newline.
///
/// # Errors
/// None is known; serialisation hands on what serde_json reports.
pub(super) fn line(request: &impl Serialize) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Versioned<'a, R> {
        version: u32,
        #[serde(flatten)]
        request: &'a R,
    }
    let version = VERSION;
    Ok(serde_json::to_string(&Versioned { version, request })? + "\n")
}

/// Why an output of the script is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Windows' administrator does not let scripts of ours run: by which policy.
    #[error("a policy of this Windows machine keeps the script from running ({0})")]
    Forbidden(String),
    /// No object at all: the script did not run. What was said instead.
    #[error("Windows PowerShell did not run the script: {0}")]
    NotRun(String),
    /// UTF-16 with or without its mark, as some Windows programs print.
    #[error(
        "the answer is UTF-16 text instead of UTF-8; a wrapper or profile changes PowerShell's output"
    )]
    Utf16,
    /// Bytes of some other code page: their beginning, escaped.
    #[error("the answer is not UTF-8 text: \"{0}\"")]
    NotUtf8(String),
    /// Another version of the script answered.
    #[error(
        "the script answers in version {0}, this agent speaks version {VERSION}; install the script that belongs to this agent"
    )]
    Version(u64),
    /// Something printed before or after the object: where, and its beginning, escaped.
    #[error(
        "text {0} the answer: \"{1}\"; another program or a PowerShell profile printed into it"
    )]
    Text(&'static str, String),
    /// The output ends inside the object, after this many bytes.
    #[error("the answer breaks off after {0} bytes; the script was stopped while it wrote")]
    Truncated(usize),
    /// An object, and not the one that was agreed: what is wrong, and the answer's
    /// beginning, both escaped.
    #[error("the answer is not what the contract says: {0}: \"{1}\"")]
    Malformed(String, String),
}

impl AnswerError {
    /// Its health code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Forbidden(_) | Self::NotRun(_) => Code::InteropScript,
            _ => Code::InteropOutput,
        }
    }
}

/// The one field that must be understood before the others are looked at.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// Reads what a script printed. A byte order mark and white space around the
/// object are passed over.
///
/// # Errors
/// Anything but exactly one object of [`VERSION`]; each way to fail has its own
/// [`AnswerError`].
pub(super) fn object<T: DeserializeOwned>(output: &Output) -> Result<T, AnswerError> {
    let said = output.stderr.as_str();
    let output = output.stdout.as_slice();
    // The exit status tells little: PowerShell's 0xFFFD0000 for a file that it cannot read
    // and 0xFFFF0000 for a start that failed are 0 in the 8 bits that Linux gets.
    if !output.contains(&b'{') {
        if let Some(policy) = forbidden::find(output) {
            return Err(AnswerError::Forbidden(policy));
        }
        let printed = excerpt(String::from_utf8_lossy(output).trim_start_matches('\u{feff}'));
        let both = format!("{said} {printed}");
        return Err(AnswerError::NotRun(match both.trim() {
            "" => "it printed nothing".to_owned(),
            text => excerpt(text),
        }));
    }
    if looks_like_utf16(output) {
        return Err(AnswerError::Utf16);
    }
    let text = std::str::from_utf8(output)
        .map_err(|_| AnswerError::NotUtf8(excerpt(&String::from_utf8_lossy(output))))?;
    // The line that the command prints is before the mark.
    let text = text.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace());
    let text = text.trim_end();
    if !text.starts_with('{') {
        let before = text.split('{').next().unwrap_or(text);
        return Err(AnswerError::Text("before", excerpt(before)));
    }
    let Versioned { version } = one_object(text)?;
    if version != u64::from(VERSION) {
        return Err(AnswerError::Version(version));
    }
    one_object(text)
}

/// The object at the start of `text`, which must be all there is.
fn one_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, AnswerError> {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let first = objects.next();
    let rest = text.get(objects.byte_offset()..).unwrap_or_default().trim();
    match first {
        Some(Ok(_)) if !rest.is_empty() => Err(AnswerError::Text("after", excerpt(rest))),
        Some(Ok(object)) => Ok(object),
        Some(Err(error)) if !error.is_eof() => {
            let reason = excerpt(&error.to_string());
            Err(AnswerError::Malformed(reason, excerpt(text)))
        }
        Some(Err(_)) | None => Err(AnswerError::Truncated(text.len())),
    }
}

/// Whether these bytes are UTF-16: by their mark, or by the zero byte that every
/// ASCII character has in it: in more than half of the pairs at the start.
fn looks_like_utf16(output: &[u8]) -> bool {
    let start = output.get(..64).unwrap_or(output);
    let with_zero = |pair: &&[u8]| pair.contains(&0);
    let pairs = start.chunks_exact(2).filter(with_zero).count();
    matches!(output, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]) || pairs * 4 > start.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_known_by_its_pairs() {
        let wide: Vec<u8> = "{\"a\":1}"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        for (output, is_wide) in [
            (&wide[..], true),
            (&wide[1..], true),
            (b"\xff\xfe", true),
            (b"\0", false),
            (b"", false),
            (b"{\0", true),
            (b"{}\0\0", false),
            (b"{}\0\0\0", false),
            (b"{\"a\":\0\0", false),
        ] {
            assert_eq!(looks_like_utf16(output), is_wide, "{output:?}");
        }
    }
}
