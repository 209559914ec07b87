//! `[dependents]`: units and hooks that follow the address.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    reader::nearest,
    values::{duration, duration_text},
};
use crate::model::{Dependent, UnitAction, UnitName, from_word};

/// The agent's own unit.
const OURSELVES: &str = "wslmesh.service";

/// Keys of a unit that is written as a table.
const KEYS: [&str; 2] = ["name", "action"];

/// One unit: its name, or a table with what to do.
impl<'de> Deserialize<'de> for Dependent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Dependent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a unit's name such as \"nginx.service\", or { name = \"nginx.service\", action = \"restart\" }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Dependent, E> {
                let (unit, action) = (unit(name)?, UnitAction::default());
                Ok(Dependent { unit, action })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Dependent, A::Error> {
                let (mut name, mut chosen) = (None, UnitAction::default());
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => name = Some(unit(&map.next_value::<String>()?)?),
                        "action" => chosen = action(&map.next_value::<String>()?)?,
                        _ => return Err(de::Error::custom(unknown(&key))),
                    }
                }
                let unit = name.ok_or_else(|| de::Error::missing_field("name"))?;
                let action = chosen;
                Ok(Dependent { unit, action })
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl Serialize for Dependent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (unit, action) = (self.unit.as_str(), self.action);
        if action == UnitAction::default() {
            to.serialize_str(unit)
        } else {
            to.collect_map([("name", unit), ("action", &action.to_string())])
        }
    }
}

fn unit<E: de::Error>(text: &str) -> Result<UnitName, E> {
    let name = UnitName::parse(text).map_err(|why| E::custom(format!("{text:?}: {why}")))?;
    if name.as_str() == OURSELVES {
        return Err(E::custom(format!(
            "{text:?} is the agent itself, which would restart itself for ever: leave it out"
        )));
    }
    Ok(name)
}

fn action<E: de::Error>(text: &str) -> Result<UnitAction, E> {
    from_word(text).map_err(|_| {
        E::custom(format!(
            "{text:?} is no action: write \"reload-or-restart\", \"reload\" or \"restart\""
        ))
    })
}

fn unknown(key: &str) -> String {
    match nearest(&KEYS, key) {
        Some(nearest) => format!("unknown key `{key}` of a unit: did you mean `{nearest}`?"),
        None => format!(
            "unknown key `{key}` of a unit: known are {}",
            KEYS.join(", ")
        ),
    }
}

/// How long a hook may run, 1 s to 10 min.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct HookTimeout(pub(super) Duration);

impl TryFrom<String> for HookTimeout {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bounds = Duration::from_secs(1)..=Duration::from_secs(600);
        duration(&text)
            .filter(|timeout| bounds.contains(timeout))
            .map(Self)
            .ok_or_else(|| {
                format!("{text:?} is no time for a hook: write \"1s\" to \"600s\" such as \"30s\"")
            })
    }
}

impl From<HookTimeout> for String {
    fn from(timeout: HookTimeout) -> Self {
        duration_text(timeout.0)
    }
}
