use super::*;

#[test]
fn group_policies_and_nothing_else() {
    let scopes = "UserPolicy=Undefined,Process=Bypass,CurrentUser=Restricted";
    let table = [
        (
            format!("wslmesh FullLanguage MachinePolicy=Undefined,{scopes}\r\n"),
            None,
        ),
        (
            format!("wslmesh FullLanguage MachinePolicy=AllSigned,{scopes}\r\n"),
            Some("MachinePolicy is AllSigned"),
        ),
        (
            format!("wslmesh FullLanguage MachinePolicy=Unrestricted,{scopes}\n"),
            None,
        ),
        (
            "wslmesh FullLanguage UserPolicy=RemoteSigned\n".to_owned(),
            Some("UserPolicy is RemoteSigned"),
        ),
        (
            format!("wslmesh ConstrainedLanguage MachinePolicy=Undefined,{scopes}\n"),
            Some("language mode ConstrainedLanguage"),
        ),
        (
            "wslmesh \u{1b}[31m MachinePolicy=\u{7},x\n".to_owned(),
            None,
        ),
        ("Die Ausf\u{fc}hrung ist deaktiviert".to_owned(), None),
        (String::new(), None),
    ];
    for (output, expected) in table {
        assert_eq!(find(output.as_bytes()).as_deref(), expected, "{output:?}");
    }
}
