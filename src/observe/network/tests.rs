use super::*;

#[test]
fn guid_is_the_vmbus_device() {
    const GUID: &str = "ebfda100-7464-4629-9da5-12de5470cb4f";
    let bus = "../../devices/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00";
    for (path, found) in [
        (format!("{bus}/{GUID}/net/eth0"), true),
        (format!("{bus}/{}/net/eth0", GUID.to_uppercase()), true),
        (
            format!("{bus}/{GUID}/pci0001:00/0001:00:00.0/virtio1/net/eth0"),
            true,
        ),
        (format!("{bus}/{GUID}/net/_wlan0/net/wlan0"), true),
        ("../../devices/virtual/net/docker0".to_owned(), false),
        ("eth0".to_owned(), false),
    ] {
        let guid = guid_in(Path::new(&path));
        assert_eq!(guid.as_deref(), found.then_some(GUID), "{path}");
    }
}
