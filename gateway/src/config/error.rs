//! What is wrong with the configuration, told so that it can be put right at once.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What is wrong with the configuration: where it stands, what is wrong, and the nearest thing that would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    place: Place,
    message: String,
    hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    File { path: PathBuf, at: Option<Spot> },
    Env(String),
    Flag(String),
    Defaults,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spot {
    line: usize,
    column: usize,
    width: usize,
    text: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, at: Some(spot) } => {
                writeln!(f, "{}, line {}: {}", path.display(), spot.line, self.message)?;
                let number = spot.line.to_string();
                writeln!(f, "  {number} | {}", spot.text)?;
                let marks = "^".repeat(spot.width.max(1));
                write!(
                    f,
                    "  {:width$} | {:column$}{marks}",
                    "",
                    "",
                    width = number.len(),
                    column = spot.column
                )?;
            }
            Place::File { path, at: None } => write!(f, "{}: {}", path.display(), self.message)?,
            Place::Env(name) => write!(f, "{name} (environment): {}", self.message)?,
            Place::Flag(flag) => write!(f, "{flag}: {}", self.message)?,
            Place::Defaults => f.write_str(&self.message)?,
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  {hint}")?;
        }
        Ok(())
    }
}

impl ConfigError {
    /// The file cannot be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let place = Place::File { path: path.into(), at: None };
        let hint = (error.kind() == std::io::ErrorKind::NotFound)
            .then(|| "`bicast config --default` prints a file to begin with.".to_owned());
        Self { place, message: format!("cannot be read: {error}"), hint }
    }

    /// Something is wrong in the file, at `span` where that is known.
    pub(super) fn in_file(path: &Path, text: &str, span: Option<Range<usize>>, message: &str) -> Self {
        let place = Place::File { path: path.into(), at: span.map(|span| Spot::find(text, &span)) };
        Self { place, message: message.into(), hint: None }
    }

    /// Something is wrong with an environment variable.
    pub(super) fn in_env(name: &str, message: &str) -> Self {
        Self { place: Place::Env(name.into()), message: message.into(), hint: None }
    }

    /// Something is wrong with a flag.
    pub(super) fn in_flag(flag: &str, message: &str) -> Self {
        Self { place: Place::Flag(flag.into()), message: message.into(), hint: None }
    }

    /// Something is wrong, but in none of the sources.
    pub(super) fn nowhere(message: &str) -> Self {
        Self { place: Place::Defaults, message: message.into(), hint: None }
    }

    /// Adds the next step.
    pub(super) fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    /// Puts serde's words into ours, those for unknown names most of all, and looks for the nearest known one. `sections` are the known
    /// keys of every section, for a key that stands in the wrong one.
    pub(super) fn explain(mut self, sections: &[(String, Vec<String>)]) -> Self {
        self.message = in_words(&self.message);
        let Some((what, rest)) = [("key", "unknown field "), ("value", "unknown variant ")]
            .iter()
            .find_map(|(what, start)| Some((*what, self.message.strip_prefix(start)?)))
        else {
            return self;
        };
        let mut quoted = rest.split('`').skip(1).step_by(2);
        let Some(unknown) = quoted.next().map(str::to_owned) else { return self };
        let known: Vec<String> = quoted.map(str::to_owned).collect();
        let list = known.join(", ");
        self.hint = Some(match nearest(&unknown, &known) {
            Some(near) => format!("Did you mean `{near}`? Known here: {list}."),
            None => match elsewhere(&unknown, sections).filter(|_| what == "key") {
                Some(section) => format!("`{unknown}` belongs under [{section}]."),
                None => format!("Known here: {list}."),
            },
        });
        self.message = format!("unknown {what} `{unknown}`");
        self
    }
}

impl Spot {
    fn find(text: &str, span: &Range<usize>) -> Self {
        let start = span.start.min(text.len());
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let text_of_line = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let column = text.get(line_start..start).unwrap_or_default().chars().count();
        let end = span.end.min(line_start + text_of_line.len());
        let width = text.get(start..end).map_or(1, |marked| marked.chars().count());
        Self { line, column, width, text: text_of_line.to_owned() }
    }
}

/// Rust's names of types in the words of whoever writes a configuration.
fn in_words(message: &str) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("expected u16", "expected a whole number, 0 to 65535"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("expected a sequence", "expected a list"),
        ("invalid socket address syntax", "not an address: write IP:PORT, as in 0.0.0.0:8080 or [::]:8080"),
        ("invalid IP address syntax", "not an IP address, as in 192.0.2.1 or 2001:db8::1"),
    ];
    if let Some((start, _)) = message.split_once(", expected struct ") {
        return format!("{start}, expected a section with keys of its own");
    }
    let found = WORDS.iter().find(|(rust, _)| message.ends_with(rust));
    found.map_or_else(|| message.to_owned(), |(rust, ours)| message.replacen(rust, ours, 1))
}

/// The known name that `unknown` was probably meant to be.
pub(super) fn nearest<'a>(unknown: &str, known: &'a [String]) -> Option<&'a str> {
    if let Some(whole_word) = known.iter().find(|name| name.split('_').any(|word| word == unknown)) {
        return Some(whole_word);
    }
    let scored = known.iter().map(|name| (strsim::jaro_winkler(unknown, name), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.75).then_some(name.as_str())
}

/// The section that has this key.
fn elsewhere<'a>(key: &str, sections: &'a [(String, Vec<String>)]) -> Option<&'a str> {
    sections
        .iter()
        .find(|(_, keys)| keys.iter().any(|known| known == key))
        .map(|(section, _)| section.as_str())
}
