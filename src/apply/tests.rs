use super::*;

#[test]
fn only_what_the_kernel_refuses_for_good_is_final() {
    for (errno, last) in [
        (Errno::PERM, true),
        (Errno::ACCESS, true),
        (Errno::ROFS, true),
        (Errno::INVAL, true),
        (Errno::NOENT, true),
        (Errno::OPNOTSUPP, true),
        (Errno::NOSYS, false),
        (Errno::BUSY, false),
        (Errno::NODEV, false),
        (Errno::IO, false),
    ] {
        assert_eq!(is_final(&errno.into()), last, "{errno:?}");
    }
    // These are a library's: wireguard-control has "not found" for a partial answer.
    for kind in [
        io::ErrorKind::NotFound,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::Unsupported,
    ] {
        assert!(!is_final(&kind.into()), "{kind}");
        assert!(
            !is_final(&io::Error::other(io::Error::from(kind))),
            "{kind}"
        );
    }
}
