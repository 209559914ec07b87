//! Messages of DNS (RFC 1035, section 4): one question, and what the head of an answer
//! says.

/// Record types that are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Name servers.
    Ns = 2,
}

/// A question. That for the root's name servers (". NS") is the shortest there is and
/// reveals nothing about this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query(Vec<u8>);

const HEAD: usize = 12;

impl Query {
    /// The root's records of a kind, in a message with this number.
    pub(super) fn root(number: u16, kind: Kind) -> Self {
        let [a, b] = number.to_be_bytes();
        let mut bytes = vec![
            a, b, // the number that identifies the answer
            0x01, 0x00, // a query, recursion desired
            0, 1, 0, 0, 0, 0, 0, 0, // one question and nothing else
            0, // the root
        ];
        bytes.extend((kind as u16).to_be_bytes());
        bytes.extend([0, 1]); // of the Internet
        Self(bytes)
    }

    /// The message.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as it is sent over TCP: behind its length.
    pub(super) fn framed(&self) -> Vec<u8> {
        let length = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(&self.0);
        framed
    }

    /// Code and truncation of a message that answers this; `None` for anything else.
    pub(super) fn answered_by(&self, message: &[u8]) -> Option<(u8, bool)> {
        let (head, rest) = message.split_at_checked(HEAD)?;
        let [a, b, flags, code, q1, q2, ..] = head else {
            return None;
        };
        let (is_answer, opcode) = (flags & 0x80 != 0, flags >> 3 & 0x0f);
        let ours = self.0.starts_with(&[*a, *b]) && is_answer && opcode == 0;
        let question = self.0.get(HEAD..).unwrap_or_default();
        let code = code & 0x0f;
        let of_it = match u16::from_be_bytes([*q1, *q2]) {
            1 => rest
                .get(..question.len())
                .is_some_and(|found| found.eq_ignore_ascii_case(question)),
            // Some leave the question out of an error.
            0 => code != 0,
            _ => false,
        };
        (ours && of_it).then_some((code, flags & 0x02 != 0))
    }
}

#[cfg(test)]
mod tests;
