//! What the command shows: a line that is rewritten on a terminal, a line a second elsewhere, JSON, or nothing.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use bicast_shared::clock;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::core::stats::{Line, Meter, State, Totals};

/// How to show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Quiet,
    Json,
    Plain,
    Terminal,
}

/// Writes to standard error for people, to standard output for programs.
pub(crate) struct Display {
    mode: Mode,
    bar: ProgressBar,
    meter: Meter,
    start: Instant,
    last: Totals,
}

impl Display {
    pub(crate) fn new(quiet: bool, json: bool) -> Self {
        let mode = match (quiet, json) {
            (true, _) => Mode::Quiet,
            (_, true) => Mode::Json,
            _ if std::io::stderr().is_terminal() => Mode::Terminal,
            _ => Mode::Plain,
        };
        let bar = if mode == Mode::Terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        bar.set_draw_target(match mode {
            Mode::Terminal => ProgressDrawTarget::stderr_with_hz(10),
            _ => ProgressDrawTarget::hidden(),
        });
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {wide_msg}") {
            bar.set_style(style);
        }
        Self { mode, bar, meter: Meter::default(), start: clock::now(), last: Totals::default() }
    }

    /// Something that happens once: connected, lost, trying again.
    pub(crate) fn say(&self, text: &str) {
        match self.mode {
            Mode::Terminal => self.bar.println(text),
            Mode::Plain => to_stderr(text),
            Mode::Quiet | Mode::Json => {}
        }
    }

    /// Something that a person should act on: shown in every mode, on standard error.
    pub(crate) fn warn(&self, text: &str) {
        match self.mode {
            Mode::Terminal => self.bar.println(format!("Warning: {text}")),
            _ => to_stderr(&format!("Warning: {text}")),
        }
    }

    /// What is going on while no numbers come.
    pub(crate) fn wait(&mut self, state: State, text: &str) {
        match self.mode {
            Mode::Terminal => {
                self.bar.set_message(text.to_owned());
                self.bar.enable_steady_tick(Duration::from_millis(100));
            }
            Mode::Plain => to_stderr(text),
            Mode::Json => self.json(state),
            Mode::Quiet => {}
        }
    }

    /// The numbers of a running session.
    pub(crate) fn numbers(&mut self, state: State, totals: &Totals) {
        self.last = *totals;
        let line = self.line(state);
        match self.mode {
            Mode::Terminal => {
                self.bar.enable_steady_tick(Duration::from_millis(250));
                self.bar.set_message(line.text());
            }
            Mode::Plain => to_stderr(&line.text()),
            Mode::Json => print_json(&line),
            Mode::Quiet => {}
        }
    }

    /// The end.
    pub(crate) fn finish(&mut self, totals: &Totals) {
        self.last = *totals;
        self.bar.finish_and_clear();
        if self.mode == Mode::Json {
            self.json(State::Stopped);
        }
    }

    fn json(&mut self, state: State) {
        let line = self.line(state);
        print_json(&line);
    }

    fn line(&mut self, state: State) -> Line {
        let elapsed = clock::now().saturating_duration_since(self.start);
        self.meter.line(state, elapsed, &self.last)
    }
}

fn print_json(line: &Line) {
    let Ok(text) = serde_json::to_string(line) else { return };
    // A reader that has gone away (a closed pipe) is no reason to stop publishing.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn to_stderr(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
