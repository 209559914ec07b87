//! `[dependents]`: units and hooks that follow the address and the tunnels.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

use super::{
    reader::nearest,
    values::{duration, duration_text},
};
use crate::model::{Dependent, Follows, UnitAction, UnitName, from_word};

/// The agent's own unit.
const OURSELVES: &str = "wslmesh.service";

/// Keys of a unit that is written as a table.
const KEYS: [&str; 3] = ["name", "action", "on"];

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
                Ok(Dependent {
                    unit: unit(name)?,
                    action: UnitAction::default(),
                    on: None,
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Dependent, A::Error> {
                let (mut name, mut chosen, mut on) = (None, UnitAction::default(), None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => name = Some(unit(&map.next_value::<String>()?)?),
                        "action" => chosen = action(&map.next_value::<String>()?)?,
                        "on" => on = Some(map.next_value()?),
                        _ => return Err(de::Error::custom(unknown(&key))),
                    }
                }
                let unit: UnitName = name.ok_or_else(|| de::Error::missing_field("name"))?;
                if unit.makes_tunnels() && on.is_some_and(|on: Follows| on.mesh) {
                    return Err(de::Error::custom(format!(
                        "{unit} makes tunnels and would be restarted for its own changes of them: leave \"mesh\" out of its on"
                    )));
                }
                Ok(Dependent {
                    unit,
                    action: chosen,
                    on,
                })
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl Serialize for Dependent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let action = Some(self.action).filter(|action| *action != UnitAction::default());
        if action.is_none() && self.on.is_none() {
            return to.serialize_str(self.unit.as_str());
        }
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("name", self.unit.as_str())?;
        if let Some(action) = action {
            map.serialize_entry("action", &action)?;
        }
        if let Some(on) = self.on {
            map.serialize_entry("on", &on)?;
        }
        map.end()
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
