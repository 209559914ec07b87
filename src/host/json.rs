//! One JSON object to a script, one from it, both of the contract's version.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::model::excerpt;

/// The version of the contract that this agent and its scripts speak.
pub(super) const VERSION: u32 = 1;

/// A request as a script reads it: ASCII, one line, ended by a newline.
///
/// # Errors
/// None is known; serialisation hands on what serde_json reports.
pub(super) fn line(request: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string(request)? + "\n")
}

/// Why an output of the script is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing but white space.
    #[error(
        "Windows PowerShell printed nothing; run the script by hand on Windows to see its error text"
    )]
    Empty,
    /// UTF-16 with or without its mark, as some Windows programs print.
    #[error(
        "the answer is UTF-16 text instead of UTF-8; a wrapper or profile changes PowerShell's output"
    )]
    Utf16,
    /// Bytes of some other code page.
    #[error("the answer is not UTF-8 text: \"{excerpt}\"")]
    NotUtf8 {
        /// Its beginning, escaped.
        excerpt: String,
    },
    /// Another version of the script answered.
    #[error(
        "the script answers in version {found}, this agent speaks version {expected}; install the script that belongs to this agent"
    )]
    Version {
        /// [`VERSION`].
        expected: u32,
        /// The version in the answer.
        found: u64,
    },
    /// Something printed before the object.
    #[error(
        "text before the answer: \"{excerpt}\"; another program or a PowerShell profile printed into it"
    )]
    TextBefore {
        /// Its beginning, escaped.
        excerpt: String,
    },
    /// Something printed after the object.
    #[error(
        "text after the answer: \"{excerpt}\"; another program or a PowerShell profile printed into it"
    )]
    TextAfter {
        /// Its beginning, escaped.
        excerpt: String,
    },
    /// The output ends inside the object.
    #[error("the answer breaks off after {length} bytes; the script was stopped while it wrote")]
    Truncated {
        /// Bytes that did arrive.
        length: usize,
    },
    /// An object, and not the one that was agreed.
    #[error("the answer is not what the contract says: {reason}: \"{excerpt}\"")]
    Malformed {
        /// What is wrong, escaped.
        reason: String,
        /// The answer's beginning, escaped.
        excerpt: String,
    },
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
pub(super) fn object<T: DeserializeOwned>(output: &[u8]) -> Result<T, AnswerError> {
    if looks_like_utf16(output) {
        return Err(AnswerError::Utf16);
    }
    let text = std::str::from_utf8(output).map_err(|_| AnswerError::NotUtf8 {
        excerpt: excerpt(&String::from_utf8_lossy(
            output.get(..512).unwrap_or(output),
        )),
    })?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(AnswerError::Empty);
    }
    if !text.starts_with('{') {
        let before = text.split('{').next().unwrap_or(text);
        return Err(AnswerError::TextBefore {
            excerpt: excerpt(before),
        });
    }
    let Versioned { version } = one_object(text)?;
    if version != u64::from(VERSION) {
        return Err(AnswerError::Version {
            expected: VERSION,
            found: version,
        });
    }
    one_object(text)
}

/// The object at the start of `text`, which must be all there is.
fn one_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, AnswerError> {
    let mut objects = serde_json::Deserializer::from_str(text).into_iter::<T>();
    let first = objects.next();
    let rest = text.get(objects.byte_offset()..).unwrap_or_default().trim();
    match first {
        Some(Ok(_)) if !rest.is_empty() => Err(AnswerError::TextAfter {
            excerpt: excerpt(rest),
        }),
        Some(Ok(object)) => Ok(object),
        Some(Err(error)) if !error.is_eof() => Err(AnswerError::Malformed {
            reason: excerpt(&error.to_string()),
            excerpt: excerpt(text),
        }),
        Some(Err(_)) | None => Err(AnswerError::Truncated { length: text.len() }),
    }
}

/// Whether these bytes are UTF-16: by their mark, or by the zero byte that every
/// ASCII character has in it. JSON in UTF-8 has no zero byte at all.
fn looks_like_utf16(output: &[u8]) -> bool {
    let start = output.get(..64).unwrap_or(output);
    output.starts_with(&[0xff, 0xfe])
        || output.starts_with(&[0xfe, 0xff])
        || start
            .chunks_exact(2)
            .filter(|pair| pair.contains(&0))
            .count()
            * 4
            > start.len()
}
