//! The sources of the configuration and their precedence: flags > environment > file > defaults.
//!
//! Every source is first read for itself, so that what is wrong in it is told in its own terms (line, variable, flag);
//! then the later ones are laid over the earlier ones.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::error::nearest;
use super::{Config, ConfigError, Invalid};

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if one is to be read.
    pub file: Option<PathBuf>,
    /// The environment's variables; those that do not begin with [`ENV_PREFIX`] are not looked at.
    pub env: Vec<(String, String)>,
    /// What flags say, the later ones over the earlier ones.
    pub flags: Vec<Setting>,
}

/// The file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "bicast.toml";

/// What the environment variables begin with. A setting's name follows in capitals, with `__` for each dot:
/// `BICAST_SFU__UDP_PORT`.
pub const ENV_PREFIX: &str = "BICAST_";

/// One setting that a flag gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The flag, as it is to be named in errors.
    pub flag: String,
    /// The setting's name with its section: `sfu.udp_port`.
    pub key: String,
    /// Its value.
    pub value: SettingValue,
}

/// What a flag says about a setting.
#[derive(Debug, Clone, PartialEq)]
pub enum SettingValue {
    /// Already of its type.
    Typed(Value),
    /// As text, to be read as the environment's values are.
    Text(String),
}

impl Setting {
    /// A setting with a value of its own type.
    pub fn typed(flag: &str, key: &str, value: impl Into<Value>) -> Self {
        Self { flag: flag.into(), key: key.into(), value: SettingValue::Typed(value.into()) }
    }

    /// A setting from text: `KEY=VALUE`.
    ///
    /// # Errors
    /// Where there is no `=`.
    pub fn parse(flag: &str, text: &str) -> Result<Self, ConfigError> {
        let Some((key, value)) = text.split_once('=') else {
            let message = format!("{text:?} is not a setting: write KEY=VALUE, as in sfu.udp_port=9000");
            return Err(ConfigError::in_flag(flag, &message));
        };
        let value = SettingValue::Text(value.trim().into());
        Ok(Self { flag: format!("{flag} {text}"), key: key.trim().into(), value })
    }
}

/// A setting that a later source lays over the file.
struct Overlay {
    from: From,
    path: Vec<String>,
    value: Value,
}

enum From {
    Env(String),
    Flag(String),
}

impl From {
    fn error(&self, message: &str) -> ConfigError {
        match self {
            Self::Env(name) => ConfigError::in_env(name, message),
            Self::Flag(flag) => ConfigError::in_flag(flag, message),
        }
    }
}

pub(super) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let schema = Schema::new();
    let file = sources.file.as_deref().map(|path| File::read(path, &schema)).transpose()?;
    let mut table = file.as_ref().map(|file| file.table.clone()).unwrap_or_default();

    let mut overlays = env_overlays(&sources.env, &schema)?;
    overlays.extend(sources.flags.iter().map(|setting| {
        let path: Vec<String> = setting.key.split('.').map(str::to_owned).collect();
        let value = match &setting.value {
            SettingValue::Typed(value) => value.clone(),
            SettingValue::Text(text) => schema.read(&path, text),
        };
        Overlay { from: From::Flag(setting.flag.clone()), path, value }
    }));
    for overlay in &overlays {
        let mut alone = Table::new();
        put(&mut alone, &overlay.path, overlay.value.clone());
        if let Err(error) = Config::deserialize(alone) {
            return Err(overlay.from.error(error.message()).explain(&schema.sections));
        }
        put(&mut table, &overlay.path, overlay.value.clone());
    }
    let config = Config::deserialize(table).map_err(|error| ConfigError::nowhere(error.message()))?;
    config.check().map_err(|invalid| locate(&invalid, file.as_ref(), &overlays))?;
    Ok(config)
}

/// Says where the value came from that makes no sense.
fn locate(invalid: &Invalid, file: Option<&File>, overlays: &[Overlay]) -> ConfigError {
    let message = format!("{}: {}", invalid.key, invalid.message);
    let path: Vec<&str> = invalid.key.split('.').collect();
    if let Some(overlay) = overlays.iter().rev().find(|overlay| overlay.path == path) {
        return overlay.from.error(&message);
    }
    match file {
        Some(file) => file.at(&path, &message),
        None => ConfigError::nowhere(&message),
    }
}

/// The configuration file, read.
struct File {
    path: PathBuf,
    text: String,
    table: Table,
}

impl File {
    fn read(path: &Path, schema: &Schema) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        let wrong = |error: &toml::de::Error| {
            ConfigError::in_file(path, &text, error.span(), error.message()).explain(&schema.sections)
        };
        // Read as what it must be first: only then do the errors know their line.
        toml::from_str::<Config>(&text).map_err(|error| wrong(&error))?;
        let table = toml::from_str::<Table>(&text).map_err(|error| wrong(&error))?;
        Ok(Self { path: path.into(), text, table })
    }

    /// An error at the place of a key.
    fn at(&self, path: &[&str], message: &str) -> ConfigError {
        let span = DeTable::parse(&self.text).ok().and_then(|document| {
            let (last, sections) = path.split_last()?;
            let mut place: Option<&DeValue<'_>> = None;
            for section in sections {
                let inner = match place {
                    None => document.get_ref().get(*section)?,
                    Some(DeValue::Array(list)) => list.get(section.parse::<usize>().ok()?)?,
                    Some(DeValue::Table(table)) => table.get(*section)?,
                    Some(_) => return None,
                };
                place = Some(inner.get_ref());
            }
            let Some(DeValue::Table(table)) = place else { return None };
            Some(table.get(*last)?.span())
        });
        ConfigError::in_file(&self.path, &self.text, span, message)
    }
}

fn env_overlays(env: &[(String, String)], schema: &Schema) -> Result<Vec<Overlay>, ConfigError> {
    let mut overlays = Vec::new();
    for (name, text) in env {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else { continue };
        if !rest.contains("__") {
            // Not a setting: BICAST_CONFIG and the like, and what Kubernetes sets for a service called "bicast". But
            // one underscore too few is a mistake that must not pass in silence.
            if let Some(meant) = schema.with_one_underscore(rest) {
                let error = ConfigError::in_env(name, "not a setting: two underscores part section and key");
                return Err(error.hint(Some(format!("Did you mean {meant}?"))));
            }
            continue;
        }
        let path: Vec<String> = rest.split("__").map(str::to_ascii_lowercase).collect();
        let value = schema.read(&path, text);
        overlays.push(Overlay { from: From::Env(name.clone()), path, value });
    }
    Ok(overlays)
}

/// What the defaults tell about the settings: their names, and of which type each is.
struct Schema {
    defaults: Table,
    sections: Vec<(String, Vec<String>)>,
}

impl Schema {
    fn new() -> Self {
        let defaults = Table::try_from(Config::default()).unwrap_or_default();
        let mut sections = Vec::new();
        list_sections("", &defaults, &mut sections);
        Self { defaults, sections }
    }

    /// Reads a value from text as the type that its default has: a text as it stands, a list also as `a,b`, anything
    /// else as TOML writes it.
    fn read(&self, path: &[String], text: &str) -> Value {
        let literal = || {
            let document = format!("value = {text}").parse::<Table>().ok();
            document.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"))
        };
        match self.default_of(path) {
            Some(Value::String(_)) => Value::String(text.into()),
            Some(Value::Array(_)) => match literal() {
                Some(Value::Array(list)) => Value::Array(list),
                _ => {
                    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                    Value::Array(items.map(|item| Value::String(item.into())).collect())
                }
            },
            _ => literal().unwrap_or_else(|| Value::String(text.into())),
        }
    }

    fn default_of(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.defaults.get(first)?, |value, key| value.get(key))
    }

    /// The variable that was meant by a name with one underscore between section and key.
    fn with_one_underscore(&self, rest: &str) -> Option<String> {
        let names: Vec<String> = self
            .sections
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")))
            .collect();
        let flat: Vec<String> = names.iter().map(|name| name.replace('.', "_")).collect();
        let meant = nearest(&rest.to_ascii_lowercase(), &flat)?;
        let exact = flat.iter().position(|name| name == meant && meant == rest.to_ascii_lowercase())?;
        Some(format!("{ENV_PREFIX}{}", names[exact].replace('.', "__").to_ascii_uppercase()))
    }
}

fn list_sections(name: &str, table: &Table, out: &mut Vec<(String, Vec<String>)>) {
    let keys = table.iter().filter(|(_, value)| !value.is_table()).map(|(key, _)| key.clone());
    out.push((name.to_owned(), keys.collect()));
    for (key, value) in table {
        if let Value::Table(inner) = value {
            let path = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            list_sections(&path, inner, out);
        }
    }
}

/// Sets a value at a path, making tables on the way; what stands in the way gives way.
fn put(table: &mut Table, path: &[String], value: Value) {
    let Some((first, rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.insert(first.clone(), value);
        return;
    }
    let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
    if !inner.is_table() {
        *inner = Value::Table(Table::new());
    }
    if let Value::Table(inner) = inner {
        put(inner, rest, value);
    }
}
