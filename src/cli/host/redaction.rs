//! A report without addresses and names.

use std::net::IpAddr;

use serde_json::Value;

/// Fields with versions, some of which look like addresses.
const VERSIONS: [&str; 5] = [
    "installed",
    "kernel",
    "powershell",
    "windows-version",
    "wsl",
];

/// Takes addresses, accounts and names out of a document. The same one becomes the same
/// word everywhere, so that a reader sees what is equal.
#[derive(Debug)]
pub(super) struct Redaction<'a> {
    /// Names to take out, in any case.
    names: &'a [String],
    /// What was taken out so far.
    found: Vec<String>,
}

impl<'a> Redaction<'a> {
    pub(super) fn new(names: &'a [String]) -> Self {
        Self {
            names,
            found: Vec::new(),
        }
    }

    /// Takes them out of every text, but not out of keys.
    pub(super) fn redact(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact(item)),
            Value::Object(fields) => {
                let texts = fields.iter_mut();
                texts
                    .filter(|(key, _)| !VERSIONS.contains(&key.as_str()))
                    .for_each(|(_, field)| self.redact(field));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str) -> String {
        let (mut redacted, mut before) = (String::with_capacity(text.len()), "");
        for part in text.split_inclusive(|character| !is_word(character)) {
            let end =
                part.trim_end_matches(|character| !is_word(character) || ".:".contains(character));
            let rest = &part[end.len()..];
            // A folder of accounts names the account next.
            let account = ["users", "home"].contains(&&*before.to_ascii_lowercase());
            redacted.push_str(&self.word(end, account));
            redacted.push_str(rest);
            before = if rest.starts_with(['\\', '/']) {
                end
            } else {
                ""
            };
        }
        redacted
    }

    fn word(&mut self, word: &str, account: bool) -> String {
        let host = word.rsplit_once(':').map_or(word, |(host, _)| host);
        let address = [word, host].into_iter().find_map(|word| {
            let address: IpAddr = word.split('%').next()?.parse().ok()?;
            Some((address, word))
        });
        let named = self
            .names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(word));
        match address {
            Some((address, _)) if address.is_unspecified() || address.is_loopback() => {
                word.to_owned()
            }
            Some((address, whole)) => {
                let number = self.number(&address.to_string());
                format!("ADDRESS-{number}{}", &word[whole.len()..])
            }
            None if !word.is_empty() && (account || named || is_sid(word)) => {
                format!("NAME-{}", self.number(&word.to_ascii_lowercase()))
            }
            None => word.to_owned(),
        }
    }

    fn number(&mut self, found: &str) -> usize {
        let known = self.found.iter().position(|known| known == found);
        known.unwrap_or_else(|| {
            self.found.push(found.to_owned());
            self.found.len() - 1
        }) + 1
    }
}

/// What addresses, SIDs and most names are made of.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || ".:-_%".contains(character)
}

/// The SID of an account, but not of a group that all machines have ([MS-DTYP] 2.4.2.4).
fn is_sid(word: &str) -> bool {
    word.starts_with("S-1-5-21-") || word.starts_with("S-1-12-1-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_taken_out() {
        let names = ["Debian".to_owned(), "laptop".to_owned()];
        let table = [
            ("172.28.16.5 in 172.28.16.0/20", "ADDRESS-1 in ADDRESS-2/20"),
            ("to 10.0.0.1:80, 10.0.0.1.", "to ADDRESS-1:80, ADDRESS-1."),
            (
                "fe80::1%5 and ::1 and 0.0.0.0:22",
                "ADDRESS-1 and ::1 and 0.0.0.0:22",
            ),
            (
                r"C:\Users\me.x\AppData, /home/me.x/a",
                r"C:\Users\NAME-1\AppData, /home/NAME-1/a",
            ),
            ("debian on LAPTOP: debian-12", "NAME-1 on NAME-2: debian-12"),
            (
                "USER S-1-5-21-1-2-3-1001 (S-1-5-32-544)",
                "USER NAME-1 (S-1-5-32-544)",
            ),
            (
                "6.18.20.1-microsoft-standard-WSL2",
                "6.18.20.1-microsoft-standard-WSL2",
            ),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(Redaction::new(&names).text(text), expected);
        }
    }

    #[test]
    fn equal_ones_stay_equal_in_the_whole_document() {
        let mut document = serde_json::json!({
            "10.0.0.1": ["10.0.0.1", 4, null], "wsl": "2.6.1.0", "other": "10.0.0.2", "deep": {"x": "10.0.0.1"},
        });
        Redaction::new(&[]).redact(&mut document);
        let (list, deep) = (&document["10.0.0.1"][0], &document["deep"]["x"]);
        assert_eq!((list, list), (deep, &serde_json::json!("ADDRESS-1")));
        assert_eq!(
            (&document["wsl"], &document["other"]),
            (&"2.6.1.0".into(), &"ADDRESS-2".into())
        );
    }
}
