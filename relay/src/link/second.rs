//! The second way of packets: a stream beside the standard ones, which the switch connects to
//! the guest by and shows a secret on. The standard streams keep control messages, and each
//! direction moves by a message after which no packet follows on them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the guest's side listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// A port of vsock in a virtual machine, vsock(7).
    Vsock {
        /// The machine, as Windows knows it.
        vm: VmId,
        /// Its port.
        port: u32,
    },
    /// A Unix socket of the switch's own machine.
    Unix {
        /// Its path.
        path: String,
    },
}

/// The identity of a virtual machine that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VmId(u128);

/// Identities that stand for other machines than one child: any, all, all children, this
/// one, its parent, its silo's host (hvsocket.h of the Windows SDK).
const NOT_ONE: [u128; 6] = [
    0,
    u128::MAX,
    0x90db8b89_0d35_4f79_8ce9_49ea0ac8b7cd,
    0xe0e16197_dd56_4a10_9195_5ee7a155a838,
    0xa42e7cda_d03f_480c_9cc2_a4de20abb878,
    0x36bd0c5c_7276_4223_88ba_7d03b654c568,
];

impl VmId {
    /// As a number, whose digits are those of the text.
    #[must_use]
    pub fn number(self) -> u128 {
        self.0
    }
}

impl FromStr for VmId {
    type Err = &'static str;

    /// Takes a GUID's 32 digits with its hyphens, in braces or without.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let groups: Vec<&str> = bare.unwrap_or(text).split('-').collect();
        let is_hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !groups.iter().all(is_hex) {
            return Err("no identity of a virtual machine: a GUID is expected");
        }
        let number = u128::from_str_radix(&groups.concat(), 16);
        match number.map_err(|_| "no GUID")? {
            wide if NOT_ONE.contains(&wide) => Err("an identity of more than one machine"),
            number => Ok(Self(number)),
        }
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, digits: u32| self.0 >> shift & ((1 << (4 * digits)) - 1);
        let (a, b, c) = (part(96, 8), part(80, 4), part(64, 4));
        write!(
            f,
            "{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}",
            part(48, 4),
            part(0, 12)
        )
    }
}

impl TryFrom<String> for VmId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<VmId> for String {
    fn from(vm: VmId) -> Self {
        vm.to_string()
    }
}

/// A secret for one connection.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token([u8; Token::SIZE]);

impl Token {
    /// In bytes.
    pub const SIZE: usize = 32;

    /// Of random bytes.
    #[must_use]
    pub const fn new(random: [u8; Self::SIZE]) -> Self {
        Self(random)
    }

    /// What the switch sends first.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// Whether it is this one, in a time that does not depend on how much of it is right.
    #[must_use]
    pub fn is(&self, shown: &[u8; Self::SIZE]) -> bool {
        let pairs = self.0.iter().zip(shown);
        let differences = pairs.fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        std::hint::black_box(differences) == 0
    }
}

/// It is in no message and no journal.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        use fmt::Write;
        let mut text = Self::with_capacity(2 * Token::SIZE);
        for byte in token.0 {
            // Never fails.
            write!(text, "{byte:02x}").unwrap_or_default();
        }
        text
    }
}

impl TryFrom<String> for Token {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // Without what it is: it could be one with a slip.
        const INVALID: &str = "no secret of 64 hexadecimal digits";
        let mut bytes = [0; Self::SIZE];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return Err(INVALID);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digit = |of: u8| char::from(of).to_digit(16).ok_or(INVALID);
            let [high, low] = *pair;
            *byte = u8::try_from(16 * digit(high)? + digit(low)?).map_err(|_| INVALID)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests;
