use super::*;

#[test]
fn group_policies_and_nothing_else() {
    let scopes = "UserPolicy=Undefined,Process=Bypass,CurrentUser=Restricted";
    let table = [
        (
            format!(
                "wslmesh FullLanguage MachinePolicy=Undefined,UserPolicy=Restricted,{scopes}\r\n"
            ),
            Some("UserPolicy is Restricted"),
        ),
        (
            format!("wslmesh FullLanguage MachinePolicy=AllSigned,{scopes}\r\n"),
            Some("MachinePolicy is AllSigned"),
        ),
        (
            "wslmesh FullLanguage \r\n".to_owned(),
            Some("Windows does not say which policies it has"),
        ),
        (
            format!("wslmesh ConstrainedLanguage MachinePolicy=RemoteSigned,{scopes}\n"),
            Some("language mode ConstrainedLanguage"),
        ),
        (
            format!("wslmesh ConstrainedLanguage MachinePolicy=Undefined,{scopes}\n"),
            Some("language mode ConstrainedLanguage"),
        ),
        (
            "wslmesh ConstrainedLanguage\r\n".to_owned(),
            Some("language mode ConstrainedLanguage"),
        ),
        (
            "wslmesh \u{1b}[31m MachinePolicy=\u{7},x\n".to_owned(),
            None,
        ),
        ("wslmesh: relay".to_owned(), None),
        ("Die Ausf\u{fc}hrung ist deaktiviert".to_owned(), None),
        (String::new(), None),
    ];
    for (output, expected) in table {
        assert_eq!(find(output.as_bytes()).as_deref(), expected, "{output:?}");
    }
}
