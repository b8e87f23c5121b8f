//! What a run of the tests says besides "ok". Written past the test harness, which hides what passing tests print.

use std::{io::Write, time::Duration};

/// Reports something measured.
pub(crate) fn figure(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "    figure: {}", text.as_ref());
}

/// Reports that this machine can't run a test.
pub(crate) fn skip(test: &str, because: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "\n!!! SKIPPED: {test}: {}\n", because.as_ref());
}

/// Median, 99th percentile and maximum, printable.
pub(crate) fn spread(mut samples: Vec<Duration>) -> String {
    samples.sort_unstable();
    let at = |share: f64| samples.get(((samples.len().saturating_sub(1)) as f64 * share) as usize).copied();
    match (at(0.5), at(0.99), samples.last()) {
        (Some(median), Some(high), Some(most)) => {
            format!("median {median:.1?}, 99 % {high:.1?}, worst {most:.1?} of {}", samples.len())
        }
        _ => "no samples".to_owned(),
    }
}
