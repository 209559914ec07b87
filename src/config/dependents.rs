//! `[dependents]`: units and hooks that follow the address.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use super::{
    ConfigError,
    fragments::{duration, nearest},
};
use crate::model::{Dependent, UnitAction, UnitName};

/// The section as it stands in one file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Dependents {
    pub(super) units: Option<Vec<Spanned<Entry>>>,
    pub(super) hook_timeout: Option<HookTimeout>,
}

/// The agent's own unit.
const OURSELVES: &str = "wslmesh.service";

/// Keys of a unit that is written as a table.
const KEYS: [&str; 2] = ["name", "action"];

/// One unit: its name, or a table with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry(pub(super) Dependent);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a unit's name such as \"nginx.service\", or { name = \"nginx.service\", action = \"restart\" }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Entry, E> {
                Ok(Entry(Dependent {
                    unit: unit(name)?,
                    action: UnitAction::default(),
                }))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let (mut name, mut chosen) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => name = Some(unit(&map.next_value::<String>()?)?),
                        "action" => chosen = Some(action(&map.next_value::<String>()?)?),
                        _ => return Err(de::Error::custom(unknown(&key))),
                    }
                }
                let unit = name.ok_or_else(|| de::Error::missing_field("name"))?;
                Ok(Entry(Dependent {
                    unit,
                    action: chosen.unwrap_or_default(),
                }))
            }
        }
        from.deserialize_any(Visitor)
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
    let mut all = UnitAction::ALL.into_iter();
    all.find(|action| action.as_str() == text).ok_or_else(|| {
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
#[derive(Debug, Clone, Copy)]
pub(super) struct HookTimeout(pub(super) Duration);

impl HookTimeout {
    /// Where nothing is said.
    pub(super) const USUAL: Duration = Duration::from_secs(30);
}

impl<'de> Deserialize<'de> for HookTimeout {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bounds = Duration::from_secs(1)..=Duration::from_secs(600);
        duration(&text)
            .filter(|timeout| bounds.contains(timeout))
            .map(Self)
            .ok_or_else(|| {
                de::Error::custom(format!(
                    "{text:?} is no time for a hook: write \"1s\" to \"600s\" such as \"30s\""
                ))
            })
    }
}

/// A unit and where it is written.
#[derive(Debug, Clone)]
pub(super) struct PlacedUnit {
    pub(super) dependent: Dependent,
    pub(super) file: PathBuf,
    pub(super) line: usize,
}

/// Checks the units against each other and reports every trouble at once.
pub(super) fn dependents(placed: Vec<PlacedUnit>) -> Result<Vec<Dependent>, ConfigError> {
    let mut problems = Vec::new();
    for (place, this) in placed.iter().enumerate() {
        let unit = &this.dependent.unit;
        let mut earlier = placed.iter().take(place);
        if let Some(first) = earlier.find(|earlier| earlier.dependent.unit == *unit) {
            problems.push(format!(
                "{}:{}: dependents.units: {unit} is named already at {}:{}; leave one out",
                this.file.display(),
                this.line,
                first.file.display(),
                first.line
            ));
        }
    }
    if problems.is_empty() {
        Ok(placed.into_iter().map(|this| this.dependent).collect())
    } else {
        Err(ConfigError::Invalid(problems))
    }
}

/// The section as a configuration file.
pub(super) fn show(
    f: &mut fmt::Formatter<'_>,
    dependents: &[Dependent],
    hook_timeout: Duration,
) -> fmt::Result {
    let units: Vec<String> = dependents
        .iter()
        .map(|dependent| {
            let name = dependent.unit.as_str();
            if dependent.action == UnitAction::default() {
                format!("{name:?}")
            } else {
                format!("{{ name = {name:?}, action = \"{}\" }}", dependent.action)
            }
        })
        .collect();
    let millis = hook_timeout.as_millis();
    let timeout = match millis % 1000 {
        0 => format!("{}s", millis / 1000),
        _ => format!("{millis}ms"),
    };
    writeln!(
        f,
        "\n[dependents]\nunits = [{}]\nhook-timeout = \"{timeout}\"",
        units.join(", ")
    )
}
