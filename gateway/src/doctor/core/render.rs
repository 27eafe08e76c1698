//! The report as text, for a terminal.

use super::report::{Area, Finding, Level, Report};

/// Columns of a line; commands may be longer, because a broken line cannot be copied.
const WIDTH: usize = 100;
/// Where sentences begin.
const INDENT: usize = 11;

/// The whole report. `coloured` for a terminal that shows colours.
pub(crate) fn render(report: &Report, coloured: bool) -> String {
    let paint = Paint(coloured);
    let mut lines = vec![String::new()];
    let at = report.url.as_ref().map_or_else(String::new, |url| format!(": {url}"));
    lines.push(paint.bold(&format!("  bicast doctor {}{at}", env!("CARGO_PKG_VERSION"))));
    for area in Area::ALL {
        let mut findings = report.findings.iter().filter(|finding| finding.area == area).peekable();
        if findings.peek().is_some() {
            lines.extend([String::new(), paint.bold(&format!("  {}", area.title()))]);
            findings.for_each(|finding| show(finding, paint, &mut lines));
        }
    }
    lines.extend([String::new(), format!("  {}", summary(report, paint)), String::new()]);
    lines.join("\n") + "\n"
}

fn show(finding: &Finding, paint: Paint, lines: &mut Vec<String>) {
    let indent = " ".repeat(INDENT);
    for (index, line) in wrap(&finding.text, WIDTH - INDENT).into_iter().enumerate() {
        let head = if index == 0 { paint.level(finding.level) } else { indent.clone() };
        lines.push(format!("{head}{line}"));
    }
    let Some(next) = &finding.next else { return };
    for (index, line) in wrap(&next.text, WIDTH - INDENT - 3).into_iter().enumerate() {
        lines.push(format!("{indent}{}{line}", if index == 0 { "-> " } else { "   " }));
    }
    lines.extend(next.commands.iter().map(|command| format!("{indent}   {}", paint.command(command))));
}

fn summary(report: &Report, paint: Paint) -> String {
    let count = |level, one: &str, many: &str| {
        let count = report.count(level);
        format!("{count} {}", if count == 1 { one } else { many })
    };
    let text = [
        count(Level::Problem, "problem", "problems"),
        count(Level::Warning, "warning", "warnings"),
        count(Level::Note, "note", "notes"),
        count(Level::Ok, "ok", "ok"),
    ]
    .join(", ");
    paint.bold(&format!("{text}."))
}

/// Breaks a text into lines of at most `width` columns. Its own line ends stay, and lines that begin with a space (places
/// in files, commands) are kept as they are.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        if paragraph.starts_with(' ') {
            lines.push(paragraph.to_owned());
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split_ascii_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn command(self, text: &str) -> String {
        self.with("36", text)
    }

    /// The level at the beginning of a line, as wide as the indentation.
    fn level(self, level: Level) -> String {
        let (code, word) = match level {
            Level::Ok => ("32", "ok"),
            Level::Note => ("36", "note"),
            Level::Warning => ("33", "warning"),
            Level::Problem => ("1;31", "problem"),
        };
        let gap = " ".repeat(INDENT - 2 - word.len());
        format!("  {}{gap}", self.with(code, word))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn report() -> Report {
        let mut report = Report { url: Some("http://127.0.0.1:8080".into()), ..Report::default() };
        report.add(Finding::new(Area::Kernel, "gso", Level::Ok, "UDP GSO is there."));
        report.add(
            Finding::new(
                Area::Configuration,
                "configuration",
                Level::Problem,
                "bicast.toml, line 3: unknown key `udp_prot`\n  3 | udp_prot = 9000\n    | ^^^^^^^^",
            )
            .next("Correct it."),
        );
        let long = "net.core.rmem_max is 212,992 bytes, of 4,194,304 that bicast asks for: bursts of received packets are \
                    lost.";
        report.add(
            Finding::new(Area::Kernel, "rmem-max", Level::Warning, long)
                .next("Raise it:")
                .command("sudo sysctl -w net.core.rmem_max=4194304"),
        );
        report
    }

    #[test]
    fn a_report_reads_from_top_to_bottom() {
        let text = render(&report(), false).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        // The bar keeps the indentation: expect! takes away what all lines have in common.
        let text: String = text.lines().map(|line| format!("|{line}\n")).collect();
        expect![[r#"
            |
            |  bicast doctor VERSION: http://127.0.0.1:8080
            |
            |  Configuration
            |  problem  bicast.toml, line 3: unknown key `udp_prot`
            |             3 | udp_prot = 9000
            |               | ^^^^^^^^
            |           -> Correct it.
            |
            |  Kernel
            |  ok       UDP GSO is there.
            |  warning  net.core.rmem_max is 212,992 bytes, of 4,194,304 that bicast asks for: bursts of received
            |           packets are lost.
            |           -> Raise it:
            |              sudo sysctl -w net.core.rmem_max=4194304
            |
            |  1 problem, 1 warning, 0 notes, 1 ok.
            |
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let coloured = render(&report(), true);
        assert!(coloured.contains("\u{1b}[1;31mproblem\u{1b}[0m"));
        let mut plain = String::new();
        for (index, piece) in coloured.split('\u{1b}').enumerate() {
            plain.push_str(if index == 0 { piece } else { piece.split_once('m').unwrap().1 });
        }
        assert_eq!(plain, render(&report(), false));
    }
}
