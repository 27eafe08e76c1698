//! What was found: per rule, how often it held, how often it did not, and the first places where it did not.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::rules::{RULES, silence};

/// Places that are kept of a rule that breaks; more of the same teach nothing.
const MOST_EVIDENCE: usize = 3;

/// Where something was seen: an address, and a line of what it answered (0: all of it).
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) url: &'a str,
    pub(crate) line: usize,
}

impl<'a> At<'a> {
    pub(crate) const fn whole(url: &'a str) -> Self {
        Self { url, line: 0 }
    }

    pub(crate) const fn line(self, line: usize) -> Self {
        Self { line, ..self }
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger(BTreeMap<u8, Seen>);

#[derive(Debug, Clone, Default)]
struct Seen {
    held: u64,
    broken: u64,
    evidence: Vec<String>,
}

impl Ledger {
    /// Notes whether `rule` held at this place; `why` says what is wrong where it did not.
    pub(crate) fn judge(&mut self, rule: u8, holds: bool, at: At<'_>, why: impl FnOnce() -> String) {
        let seen = self.0.entry(rule).or_default();
        if holds {
            seen.held += 1;
            return;
        }
        seen.broken += 1;
        if seen.evidence.len() < MOST_EVIDENCE {
            let line = if at.line == 0 { String::new() } else { format!(", line {}", at.line) };
            let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(400).collect::<String>();
            seen.evidence.push(format!("{} ({}{line})", clean(&why()), clean(at.url)));
        }
    }

    /// Adds what another has found.
    pub(crate) fn add(&mut self, other: Self) {
        for (rule, found) in other.0 {
            let seen = self.0.entry(rule).or_default();
            seen.held += found.held;
            seen.broken += found.broken;
            let room = MOST_EVIDENCE.saturating_sub(seen.evidence.len());
            seen.evidence.extend(found.evidence.into_iter().take(room));
        }
    }

    /// The rules that were seen to break.
    #[cfg(test)]
    pub(crate) fn broken(&self) -> Vec<u8> {
        self.0.iter().filter(|(_, seen)| seen.broken > 0).map(|(rule, _)| *rule).collect()
    }

    /// Every rule, in order.
    pub(crate) fn report(&self) -> Report {
        let lines = RULES.iter().map(|(rule, title)| {
            let seen = self.0.get(rule).cloned().unwrap_or_default();
            let (verdict, reason) = match (seen.held, seen.broken) {
                (0, 0) => {
                    let (verdict, why) = silence(*rule);
                    (verdict, Some(why))
                }
                (_, 0) => (Verdict::Pass, None),
                _ => (Verdict::Fail, None),
            };
            Line {
                rule: *rule,
                title,
                verdict,
                held: seen.held,
                broken: seen.broken,
                evidence: seen.evidence,
                reason,
            }
        });
        let lines: Vec<_> = lines.collect();
        let count = |verdict| lines.iter().filter(|line| line.verdict == verdict).count();
        Report {
            pass: count(Verdict::Pass),
            fail: count(Verdict::Fail),
            not_seen: count(Verdict::NotSeen),
            not_used: count(Verdict::NotUsed),
            not_applicable: count(Verdict::NotApplicable),
            rules: lines,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Verdict {
    Pass,
    Fail,
    /// It would have been judged, had there been anything to judge it by.
    NotSeen,
    /// It is about something that the origin does not use.
    NotUsed,
    /// Nobody can judge it from where this checker stands.
    NotApplicable,
}

/// What became of one rule.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    pub(crate) rule: u8,
    title: &'static str,
    pub(crate) verdict: Verdict,
    held: u64,
    broken: u64,
    evidence: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// What became of all rules.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) pass: usize,
    pub(crate) fail: usize,
    pub(crate) not_seen: usize,
    pub(crate) not_used: usize,
    pub(crate) not_applicable: usize,
    pub(crate) rules: Vec<Line>,
}

impl Report {
    /// The report for people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        for line in &self.rules {
            let (word, times) = match line.verdict {
                Verdict::Pass => ("pass", format!("{} x", line.held)),
                Verdict::Fail => ("FAIL", format!("{} of {}", line.broken, line.broken + line.held)),
                Verdict::NotSeen => ("-", format!("not seen: {}", line.reason.unwrap_or_default())),
                Verdict::NotUsed => ("-", format!("not used: {}", line.reason.unwrap_or_default())),
                Verdict::NotApplicable => {
                    ("-", format!("not applicable: {}", line.reason.unwrap_or_default()))
                }
            };
            let _ = writeln!(out, "{:>4}  {word:<4}  {} [{times}]", line.rule, line.title);
            for evidence in &line.evidence {
                let _ = writeln!(out, "            {evidence}");
            }
        }
        let _ = writeln!(
            out,
            "\n{} rules hold, {} are broken, {} were not seen, {} are about what is not used, {} cannot be judged from here",
            self.pass, self.fail, self.not_seen, self.not_used, self.not_applicable
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_breaks_once_is_broken_and_says_where() {
        let mut ledger = Ledger::default();
        let at = At::whole("http://h/a.m3u8");
        ledger.judge(5, true, at, String::new);
        ledger.judge(5, false, at.line(7), || "7 > 6\u{1b}".into());
        let mut other = Ledger::default();
        other.judge(6, true, at, String::new);
        ledger.add(other);
        assert_eq!(ledger.broken(), [5]);
        let report = ledger.report();
        assert_eq!((report.pass, report.fail), (1, 1));
        assert_eq!(report.not_seen + report.not_used + report.not_applicable, 77);
        assert!(report.rules.iter().all(|line| line.reason.is_some() == (line.held + line.broken == 0)));
        assert!(report.text().contains("7 > 6 (http://h/a.m3u8, line 7)"), "{}", report.text());
    }
}
