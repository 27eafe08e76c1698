//! What was found, for people and for machines.

use serde::Serialize;
use serde_json::json;

use super::outcome::Probed;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Some viewers are kept away, or served worse than they could be.
    Warning,
    /// It does not work. The command's exit code is 1.
    Problem,
}

/// What a finding is about; the report is grouped by it, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Area {
    /// File, environment, flags.
    Configuration,
    /// The server at the URL, over HTTP.
    Server,
    /// The candidates that peers are told, and whether they answer.
    Addresses,
    /// Whether the configured ports could be listened on.
    Ports,
    /// The operating system's limits and settings.
    Kernel,
}

impl Area {
    pub(crate) const ALL: [Self; 5] =
        [Self::Configuration, Self::Server, Self::Addresses, Self::Ports, Self::Kernel];

    /// Its heading.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration",
            Self::Server => "Server",
            Self::Addresses => "Addresses and ports that peers are told",
            Self::Ports => "Ports",
            Self::Kernel => "Kernel",
        }
    }
}

/// What to do about a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Next {
    /// A sentence.
    pub(crate) text: String,
    /// Lines to be copied as they stand.
    pub(crate) commands: Vec<String>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) area: Area,
    /// A name for programs, which stays the same whatever the text says.
    pub(crate) check: &'static str,
    pub(crate) level: Level,
    /// A sentence. Lines that begin with a space are shown as they stand.
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<Next>,
}

impl Finding {
    pub(crate) fn new(area: Area, check: &'static str, level: Level, text: impl Into<String>) -> Self {
        Self { area, check, level, text: text.into(), next: None }
    }

    /// With what to do about it.
    pub(crate) fn next(mut self, text: impl Into<String>) -> Self {
        self.next = Some(Next { text: text.into(), commands: Vec::new() });
        self
    }

    /// With a line to copy below [`Finding::next`].
    pub(crate) fn command(mut self, line: impl Into<String>) -> Self {
        let next = self.next.get_or_insert_with(|| Next { text: String::new(), commands: Vec::new() });
        next.commands.push(line.into());
        self
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// The server that was asked, where an address was known.
    pub(crate) url: Option<String>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) probes: Vec<Probed>,
}

impl Report {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Whether something does not work.
    pub(crate) fn has_problem(&self) -> bool {
        self.count(Level::Problem) > 0
    }

    /// For programs: one JSON object.
    pub(crate) fn to_json(&self) -> String {
        let value = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "url": self.url,
            "problems": self.count(Level::Problem),
            "warnings": self.count(Level::Warning),
            "findings": self.findings,
            "candidates": self.probes,
        });
        format!("{value:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_names_that_stay() {
        let mut report = Report { url: Some("http://h:1".into()), ..Report::default() };
        report.add(Finding::new(Area::Server, "ready", Level::Ok, "It is ready."));
        report.add(
            Finding::new(Area::Kernel, "rmem-max", Level::Warning, "Small.")
                .next("Raise it:")
                .command("sysctl x"),
        );
        assert!(!report.has_problem());
        let value: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(value["url"], "http://h:1");
        assert_eq!((&value["problems"], &value["warnings"]), (&json!(0), &json!(1)));
        assert_eq!(
            value["findings"][0],
            json!({"area": "server", "check": "ready", "level": "ok", "text": "It is ready."})
        );
        assert_eq!(value["findings"][1]["next"], json!({"text": "Raise it:", "commands": ["sysctl x"]}));
    }
}
