//! What the programs that measure have in common.

/// Of sorted values, none of which may be missing; NaN where there are none.
#[must_use]
pub fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let index = (sorted.len().saturating_sub(1)) * percent / 100;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Prints a report.
#[expect(clippy::print_stdout, reason = "the report is the product")]
pub fn print(text: &str) {
    println!("{text}");
}

/// Says how far it is: beside the report, which holds nothing else.
#[expect(clippy::print_stderr, reason = "progress is for who watches")]
pub fn progress(text: &str) {
    eprintln!("{text}");
}
