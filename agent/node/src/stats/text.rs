//! Owns the text that Prometheus reads.

use std::fmt::{Display, Write};

use jiff::Timestamp;

/// The content type of that text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics, family by family.
#[derive(Debug, Default)]
pub(super) struct Text(String);

/// One family: its samples follow each other.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
    help: &'a str,
    kind: &'a str,
    begun: bool,
}

impl Text {
    /// Begins a family of `counter`s, `gauge`s or a `histogram`. One without samples is left out.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: &'a str, help: &'a str) -> Family<'a> {
        Family { text: &mut self.0, name, help, kind, begun: false }
    }

    /// A family of one sample.
    pub fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// The text.
    pub fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// A sample as of now.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.write("", labels, value, None);
    }

    /// A sample as of then.
    pub fn sample_at(&mut self, labels: &[(&str, &str)], value: impl Display, at: Timestamp) {
        self.write("", labels, value, Some(at));
    }

    /// A part of a histogram: `_bucket`, `_sum`, `_count`.
    pub fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.write(suffix, labels, value, None);
    }

    fn write(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display, at: Option<Timestamp>) {
        let Self { text, name, help, kind, .. } = self;
        if !self.begun {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            self.begun = true;
        }
        let _ = write!(text, "{name}{suffix}");
        for (at, (label, value)) in labels.iter().enumerate() {
            let _ = write!(text, "{}{label}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value));
        }
        text.push_str(if labels.is_empty() { " " } else { "} " });
        let _ = match at {
            Some(at) => writeln!(text, "{value} {}", at.as_millisecond()),
            None => writeln!(text, "{value}"),
        };
    }
}

fn escaped(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        return value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n").into();
    }
    value.into()
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanoseconds: u64) -> f64 {
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_described_once_and_only_if_it_has_samples() {
        let mut text = Text::default();
        text.family("none", "gauge", "Nothing.");
        let mut family = text.family("some", "counter", "Something.");
        family.sample(&[("a", "1\"\n"), ("b", "")], 1.5);
        family.sample_at(&[], 2, Timestamp::UNIX_EPOCH);
        let expected = "# HELP some Something.\n# TYPE some counter\nsome{a=\"1\\\"\\n\",b=\"\"} 1.5\nsome 2 0\n";
        assert_eq!(text.finish(), expected);
    }
}
