//! WireGuard devices as far as the agent needs them: never a private key.

use std::{collections::BTreeMap, fmt};

use super::LinkKind;

/// A peer's public key. Its text form is cut to eight characters: enough to
/// find the peer in `wg show`, too little to be mistaken for a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A key of 32 bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let [a, b, c, d, e, g, ..] = self.0;
        let bits = u64::from_be_bytes([0, 0, a, b, c, d, e, g]);
        for place in (0..8).rev() {
            let digit = usize::try_from((bits >> (place * 6)) & 63).unwrap_or(0);
            let letter = ALPHABET.get(digit).copied().unwrap_or(b'?');
            write!(f, "{}", char::from(letter))?;
        }
        Ok(())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A WireGuard device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// UDP port it listens on; `None` until one is set.
    pub listen_port: Option<u16>,
    /// PersistentKeepalive of each peer in seconds, 0 where it is off.
    pub peers: BTreeMap<PublicKey, u16>,
}

/// What reading a WireGuard device gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceReading {
    /// The device.
    Device(Device),
    /// Somebody is setting it up or taking it down right now; the text says who.
    Busy(String),
    /// Reading failed; the text says how.
    Unreadable(String),
}

impl DeviceReading {
    /// The device where it could be read.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match self {
            Self::Device(device) => Some(device),
            Self::Busy(_) | Self::Unreadable(_) => None,
        }
    }
}

impl LinkKind {
    /// Whether a link of this kind carries WireGuard.
    #[must_use]
    pub fn is_wireguard(self) -> bool {
        matches!(self, Self::WireGuard | Self::WireGuardUserspace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_start_of_the_base64_form() {
        // wg prints this key as AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=.
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from(place).unwrap();
        }
        assert_eq!(PublicKey::new(bytes).to_string(), "AAECAwQF");
        assert_eq!(format!("{:?}", PublicKey::new(bytes)), "AAECAwQF");
    }
}
