use serde_json::{json, to_value};

use super::*;
use crate::link::{LinkError, ToSwitch, message};

#[test]
fn identities_are_of_one_machine() {
    let text = "00E4ca12-bde0-4007-8a83-01d1d6dae2c9";
    let vm: VmId = text.parse().unwrap();
    assert_eq!(vm.to_string(), text.to_lowercase());
    assert_eq!(vm.number(), 0x00e4_ca12_bde0_4007_8a83_01d1_d6da_e2c9);
    assert_eq!(format!("{{{text}}}").parse(), Ok(vm));
    for text in [
        "",
        "{}",
        "00e4ca12bde040078a8301d1d6dae2c9",
        "00e4ca12-bde0-4007-8a83-01d1d6dae2c",
        "00e4ca12-bde0-4007-8a83-01d1d6dae2cg",
        "+0e4ca12-bde0-4007-8a83-01d1d6dae2c9",
        "{00e4ca12-bde0-4007-8a83-01d1d6dae2c9",
        "00e4ca12-bde0-4007-8a83-01d1d6dae2c9\n",
        "ü0e4ca1-bde0-4007-8a83-01d1d6dae2c9",
        // Any machine, all, the children, this one, the parent.
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "90db8b89-0d35-4f79-8ce9-49ea0ac8b7cd",
        "e0e16197-dd56-4a10-9195-5ee7a155a838",
        "{a42e7cda-d03f-480c-9cc2-a4de20abb878}",
        "36bd0c5c-7276-4223-88ba-7d03b654c568",
    ] {
        assert!(text.parse::<VmId>().is_err(), "{text:?}");
    }
}

#[test]
fn secrets_are_compared_and_never_printed() {
    let bytes: [u8; Token::SIZE] = std::array::from_fn(|at| u8::try_from(at * 8).unwrap());
    let token = Token::new(bytes);
    assert!(token.is(&bytes));
    for at in 0..Token::SIZE {
        let mut other = bytes;
        other[at] ^= 1;
        assert!(!token.is(&other), "byte {at} is not compared");
    }
    assert_eq!(format!("{token:?}"), "Token");
    let text = to_value(token).unwrap();
    assert_eq!(text.as_str().unwrap().len(), 64);
    assert_eq!(serde_json::from_value::<Token>(text).unwrap(), token);
}

#[test]
fn messages_are_these() {
    let text = json!({
        "message": "move",
        "to": {"vsock": {"vm": "00e4ca12-bde0-4007-8a83-01d1d6dae2c9", "port": 4_294_967_294_u32}},
        "token": "07".repeat(32),
    });
    let parsed: ToSwitch = message(text.to_string().as_bytes()).unwrap();
    let vm = "00e4ca12-bde0-4007-8a83-01d1d6dae2c9".parse().unwrap();
    let expected = ToSwitch::Move {
        to: Place::Vsock {
            vm,
            port: u32::MAX - 1,
        },
        token: Token::new([7; 32]),
    };
    assert_eq!(parsed, expected);
    assert_eq!(to_value(&expected).unwrap(), text);
    let secret = "07".repeat(31);
    for token in [
        "",
        "7",
        &secret,
        &format!("{secret}0g"),
        &format!("{secret}070"),
    ] {
        let mut wrong = text.clone();
        wrong["token"] = json!(token);
        let result = message::<ToSwitch>(wrong.to_string().as_bytes());
        let Err(LinkError::Message(why)) = result else {
            panic!("{token}: {result:?}");
        };
        // What was sent may be nearly right.
        assert!(!why.contains("0707"), "{why}");
    }
    for to in [
        json!({"vsock": {"vm": "x", "port": 1}}),
        json!({"tcp": {}}),
        json!(null),
    ] {
        let mut wrong = text.clone();
        wrong["to"] = to;
        assert!(message::<ToSwitch>(wrong.to_string().as_bytes()).is_err());
    }
}
