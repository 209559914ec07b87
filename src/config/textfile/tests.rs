use super::*;

#[test]
fn only_what_node_exporter_reads_is_taken() {
    let read = |text: &str| Textfile::try_from(text.to_owned());
    assert_eq!(read("").unwrap().path(), None);
    let path = "/var/lib/prometheus/node-exporter/wslmesh.prom";
    let file = read(path).unwrap();
    assert_eq!(file.path(), Some(Path::new(path)));
    assert_eq!(String::from(file), path);
    for text in [
        "wslmesh.prom",
        "/var/lib/wslmesh",
        "/var/lib/wslmesh.prom.txt",
        "/.prom",
        "/a\0.prom",
        "~/x.prom",
    ] {
        let refused = read(text).unwrap_err();
        assert!(refused.contains("ends in .prom"), "{text}: {refused}");
    }
}
