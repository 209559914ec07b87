//! What the tests of the concerns share.

pub(super) mod machine;
