//! Owns where cloud-init takes a document for another than our reader does. cloud-init's YAML is version 1.1, in which
//! a plain `22:30` is the number 1350, `0644` is 420 and `08` is text.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use granit_parser::{Event, Parser, ScalarStyle};
use regex::RegexSet;
use serde_json::Value;

/// Whole numbers, numbers with a fraction, and times, as PyYAML knows them, which cloud-init reads by.
static FORMS: LazyLock<Result<RegexSet, regex::Error>> = LazyLock::new(|| {
    RegexSet::new([
        concat!(
            r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+",
            r"|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
        ),
        concat!(
            r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
            r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*)$",
        ),
        concat!(
            r"^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}",
            r"(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?)$",
        ),
    ])
});

/// What cloud-init takes a plain scalar for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Theirs {
    Text,
    Nothing,
    Truth(bool),
    /// `None` where it is larger than any that we know.
    Whole(Option<i128>),
    Fraction(Option<f64>),
    Time,
    /// `<<`, which brings the keys of another mapping.
    Merge,
    /// It fails over it.
    Nonsense,
}

impl Theirs {
    fn of(text: &str, forms: &RegexSet) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return Self::Nothing,
            "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Self::Truth(true),
            "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Self::Truth(false),
            "<<" => return Self::Merge,
            "=" => return Self::Nonsense,
            _ => {}
        }
        let found = forms.matches(text);
        if found.matched(0) {
            Self::Whole(whole(text))
        } else if found.matched(1) {
            Self::Fraction(fraction(text))
        } else if found.matched(2) {
            Self::Time
        } else {
            Self::Text
        }
    }

    /// Whether we take the same text for the same.
    fn is_ours(self, text: &str) -> bool {
        match serde_saphyr::from_str::<Value>(&format!("x: {text}")) {
            Ok(document) => self.is(&document["x"]),
            // What cannot be read at all is told elsewhere.
            Err(_) => true,
        }
    }

    fn is(self, ours: &Value) -> bool {
        match (self, ours) {
            (Self::Text, Value::String(_)) | (Self::Nothing, Value::Null) => true,
            (Self::Truth(theirs), Value::Bool(ours)) => theirs == *ours,
            (Self::Whole(Some(theirs)), Value::Number(ours)) => {
                let ours = ours.as_i64().map(i128::from).or_else(|| ours.as_u64().map(i128::from));
                ours == Some(theirs)
            }
            (Self::Fraction(Some(theirs)), Value::Number(ours)) => ours.is_f64() && ours.as_f64() == Some(theirs),
            _ => false,
        }
    }

    /// Whether, as a key, it is the same text in the JSON that cloud-init makes of what it read.
    fn is_key(self, text: &str) -> bool {
        match self {
            Self::Text | Self::Merge => true,
            Self::Nothing => text == "null",
            Self::Truth(truth) => text == if truth { "true" } else { "false" },
            Self::Whole(Some(number)) => text == number.to_string(),
            Self::Whole(None) | Self::Fraction(_) | Self::Time | Self::Nonsense => false,
        }
    }

    /// The same for our reader.
    fn spelled(self, text: &str) -> String {
        match self {
            Self::Nothing => "null".to_owned(),
            Self::Truth(truth) => truth.to_string(),
            Self::Whole(Some(number)) => number.to_string(),
            Self::Fraction(Some(number)) => format!("{number:?}"),
            _ => Value::from(text).to_string(),
        }
    }
}

impl fmt::Display for Theirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Nothing => "nothing",
            Self::Truth(_) => "true or false",
            Self::Whole(_) => "a whole number",
            Self::Fraction(_) => "a number with a fraction",
            Self::Time => "a time",
            Self::Merge | Self::Nonsense => "what makes it fail",
        })
    }
}

/// A plain scalar that cloud-init takes for something else than we do. It may be a secret, and is not shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Other {
    /// The keys that lead to it, `[0]` for an item of a list.
    path: Vec<String>,
    /// From 1.
    line: usize,
    /// Whether it is a key itself.
    key: bool,
    theirs: Theirs,
    /// Its place in the text, where it stands there as it is read.
    span: Option<Range<usize>>,
}

impl Other {
    /// Whether it is below a key of the top level.
    pub fn is_below(&self, key: &str) -> bool {
        self.path.first().is_some_and(|first| first == key)
    }
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut place = String::new();
        for step in &self.path {
            if !place.is_empty() && !step.starts_with('[') {
                place.push('.');
            }
            place.push_str(step);
        }
        let what = if self.key { "the key" } else { "the value" };
        write!(
            f,
            "line {}: `{place}`: {what} is {} to cloud-init, which reads YAML 1.1; put it in quotes",
            self.line, self.theirs
        )
    }
}

/// All plain scalars of a document that cloud-init takes for something else than we do.
pub fn others(text: &str) -> Result<Vec<Other>, String> {
    let forms = match &*FORMS {
        Ok(forms) => forms,
        Err(error) => return Err(error.to_string()),
    };
    let mut walk = Walk::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| format!("it is no YAML: {error}"))?;
        match event {
            Event::MappingStart(_, anchor, _) => walk.open(None, anchor),
            Event::SequenceStart(_, anchor, _) => walk.open(Some(0), anchor),
            Event::MappingEnd | Event::SequenceEnd => walk.close(),
            Event::Alias(anchor) => walk.alias(anchor),
            Event::Scalar(value, style, anchor, tag) => {
                let value: &str = &value;
                let mut path = walk.path();
                let key = walk.is_at_key();
                if key {
                    path.push(value.to_owned());
                }
                let first = walk.found.len();
                let theirs = Theirs::of(value, forms);
                let same = || if key { theirs.is_key(value) } else { theirs.is_ours(value) };
                if style == ScalarStyle::Plain && tag.is_none() && !same() {
                    let line = span.start.line();
                    let span = span.byte_range().filter(|range| text.get(range.clone()) == Some(value));
                    walk.found.push(Other { path: path.clone(), line, key, theirs, span });
                }
                walk.note(anchor, path.len(), first);
                walk.pass(value);
            }
            _ => {}
        }
    }
    Ok(walk.found)
}

/// The document with every such value written so that we read it as cloud-init does.
pub fn as_cloud_init(text: &str) -> Result<String, String> {
    let mut written = BTreeMap::new();
    for other in others(text)?.iter().filter(|other| !other.key) {
        if let Some(span) = &other.span {
            written.insert(span.start, (span.end, other.theirs.spelled(&text[span.clone()])));
        }
    }
    let (mut out, mut at) = (String::new(), 0);
    for (start, (end, spelled)) in written {
        out.push_str(&text[at..start]);
        out.push_str(&spelled);
        at = end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// A way through a document.
#[derive(Debug, Default)]
struct Walk {
    frames: Vec<Frame>,
    /// Of each anchor, how many keys lead to it, and what was found in it.
    anchors: HashMap<usize, (usize, Range<usize>)>,
    found: Vec<Other>,
}

/// A mapping or list that has not ended.
#[derive(Debug)]
struct Frame {
    /// The number of the next item, in a list.
    item: Option<usize>,
    /// The key whose value is next, in a mapping.
    key: Option<String>,
    anchor: usize,
    /// How much was found before it.
    first: usize,
}

impl Walk {
    fn open(&mut self, item: Option<usize>, anchor: usize) {
        self.frames.push(Frame { item, key: None, anchor, first: self.found.len() });
    }

    fn close(&mut self) {
        if let Some(frame) = self.frames.pop() {
            self.note(frame.anchor, self.path().len(), frame.first);
            self.pass("?");
        }
    }

    /// What was found where the anchor is, counts here as well.
    fn alias(&mut self, anchor: usize) {
        if let Some((depth, range)) = self.anchors.get(&anchor).cloned() {
            let place = self.path();
            let again = |other: &Other| {
                let path = place.iter().chain(&other.path[depth..]).cloned().collect();
                Other { path, ..other.clone() }
            };
            let again: Vec<Other> = self.found[range].iter().map(again).collect();
            self.found.extend(again);
        }
        self.pass("*");
    }

    /// Remembers what was found in a node; 0 is no anchor.
    fn note(&mut self, anchor: usize, depth: usize, first: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, (depth, first..self.found.len()));
        }
    }

    /// The keys that lead to the next node.
    fn path(&self) -> Vec<String> {
        let step = |frame: &Frame| frame.item.map(|item| format!("[{item}]")).or_else(|| frame.key.clone());
        self.frames.iter().filter_map(step).collect()
    }

    fn is_at_key(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.item.is_none() && frame.key.is_none())
    }

    /// A node is over; `text` is how it is named where it is a key.
    fn pass(&mut self, text: &str) {
        let Some(frame) = self.frames.last_mut() else { return };
        if let Some(item) = &mut frame.item {
            *item += 1;
        } else if frame.key.take().is_none() {
            frame.key = Some(text.to_owned());
        }
    }
}

/// The sign of a number, and the rest of it.
fn signed(text: &str) -> (bool, String) {
    let text = text.replace('_', "");
    match text.strip_prefix('-') {
        Some(size) => (true, size.to_owned()),
        None => (false, text.strip_prefix('+').unwrap_or(&text).to_owned()),
    }
}

fn whole(text: &str) -> Option<i128> {
    let (negative, size) = signed(text);
    let size = if let Some(digits) = size.strip_prefix("0b") {
        i128::from_str_radix(digits, 2).ok()?
    } else if let Some(digits) = size.strip_prefix("0x") {
        i128::from_str_radix(digits, 16).ok()?
    } else if size.starts_with('0') {
        i128::from_str_radix(&size, 8).ok()?
    } else {
        let place = |sum: i128, digits: &str| sum.checked_mul(60)?.checked_add(digits.parse().ok()?);
        size.split(':').try_fold(0, place)?
    };
    Some(if negative { -size } else { size })
}

fn fraction(text: &str) -> Option<f64> {
    let (negative, size) = signed(text);
    let place = |sum: f64, digits: &str| Some(sum * 60.0 + digits.parse::<f64>().ok()?);
    let size = size.split(':').try_fold(0.0, place)?;
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// The value of a key, as cloud-init has it; nothing where we have the same.
    fn theirs(value: &str) -> Option<Theirs> {
        others(&format!("key: {value}\n")).unwrap().first().map(|other| other.theirs)
    }

    #[test]
    fn what_yaml_1_1_takes_for_something_else_is_found() {
        assert_eq!(theirs("22:30"), Some(Theirs::Whole(Some(1350))));
        assert_eq!(theirs("-1:30:00"), Some(Theirs::Whole(Some(-5400))));
        assert_eq!(theirs("0644"), Some(Theirs::Whole(Some(420))));
        assert_eq!(theirs("18446744073709551616"), Some(Theirs::Whole(Some(1 << 64))));
        assert_eq!(theirs("1:30.5"), Some(Theirs::Fraction(Some(90.5))));
        assert_eq!(theirs("1_0.5"), Some(Theirs::Fraction(Some(10.5))));
        assert_eq!(theirs("2024-01-17"), Some(Theirs::Time));
        assert_eq!(theirs("2024-01-17 10:00:00 +1"), Some(Theirs::Time));
        assert_eq!(theirs("="), Some(Theirs::Nonsense));
        for text in ["08", "y", "N", "1e3", "0o17", "-.5"] {
            assert_eq!(theirs(text), Some(Theirs::Text), "{text}");
        }
    }

    #[test]
    fn what_is_the_same_is_left_alone() {
        let same = [
            "",
            "~",
            "null",
            "abc",
            "yes",
            "Off",
            "true",
            "0",
            "-5",
            "1_000",
            "0x1f",
            "0b11",
            "1.5",
            ".5",
            "1.0e+3",
            "10.0.0.1",
            "12h",
            "---",
            "52:54:00:4b:00:0b",
            "24:60",
            "\"22:30\"",
            "'0644'",
            "!!str 0644",
            "|\n  0644",
        ];
        for text in same {
            assert_eq!(theirs(text), None, "{text}");
        }
    }

    #[test]
    fn each_has_its_place() {
        let text =
            "a: &a 22:30\nkeelson:\n  windows:\n  - {start: 0644, length: 2h}\n  - {start: *a}\n  yes: 1\n  5: x\n";
        let told: Vec<String> = others(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            told[..3],
            [
                "line 1: `a`: the value is a whole number to cloud-init, which reads YAML 1.1; put it in quotes",
                "line 4: `keelson.windows[0].start`: the value is a whole number to cloud-init, which reads YAML 1.1; \
                 put it in quotes",
                "line 1: `keelson.windows[1].start`: the value is a whole number to cloud-init, which reads YAML 1.1; \
                 put it in quotes",
            ]
        );
        assert!(told[3].starts_with("line 6: `keelson.yes`: the key is true or false") && told.len() == 4, "{told:?}");
        let below = others(text).unwrap().iter().filter(|other| other.is_below("keelson")).count();
        assert_eq!(below, 3);
    }

    #[test]
    fn what_an_anchor_holds_counts_where_it_is_meant() {
        let text = "base: &base\n  windows:\n  - start: 22:30\nkeelson:\n  update: *base\n";
        let paths: Vec<Vec<String>> = others(text).unwrap().into_iter().map(|other| other.path).collect();
        assert_eq!(
            paths,
            [vec!["base", "windows", "[0]", "start"], vec!["keelson", "update", "windows", "[0]", "start"]]
        );
    }

    /// By PyYAML, which cloud-init reads by.
    #[test]
    fn pyyaml_reads_the_same() {
        let alone = [
            "22:30",
            "02:00",
            "-1:30:00",
            "24:60",
            "1:99",
            "190:20:30",
            "1:30.5",
            "0644",
            "08",
            "0o17",
            "0x1f",
            "0b11",
            "1_000",
            "1_0.5",
            "-.5",
            ".5",
            "1e3",
            "1.0e+3",
            "1.5",
            "0",
            "-5",
            "+7",
            "007",
            "00",
            "-0b1",
            "18446744073709551616",
            "y",
            "N",
            "yes",
            "Off",
            "True",
            "null",
            "Null",
            "~",
            "abc",
            "10.0.0.1",
            "12h",
            "2024-01-17",
            "52:54:00:4b:00:0b",
            "a: b",
            "\"22:30\"",
            "'0644'",
            "!!str 0644",
            "[0644, 22:30]",
            "{ start: 22:30 }",
        ];
        let text: String = alone.iter().enumerate().map(|(index, value)| format!("k{index}: {value}\n")).collect();
        let text = text.replace(": a: b\n", ":\n  a: 022\n");
        let code = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, default=str)";
        let mut python = Command::new("/usr/bin/python3");
        let mut python = python.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let told = python.wait_with_output().unwrap();
        assert!(told.status.success(), "apt install python3-yaml");
        let theirs: Value = serde_json::from_slice(&told.stdout).unwrap();
        let ours: Value = serde_saphyr::from_str(&as_cloud_init(&text).unwrap()).unwrap();
        for (index, value) in alone.iter().enumerate() {
            let key = format!("k{index}");
            // The largest numbers are the same in either way of writing them.
            let same =
                ours[&key] == theirs[&key] || ours[&key].as_f64().is_some_and(|one| Some(one) == theirs[&key].as_f64());
            assert!(same, "{value}: {} is {} to PyYAML", ours[&key], theirs[&key]);
        }
    }

    #[test]
    fn a_document_can_be_read_as_cloud_init_reads_it() {
        let text = "#cloud-config\na: 0644  # octal\nb: [22:30, y, 08, \"08\"]\nc: 2024-01-17\n";
        let read: Value = serde_saphyr::from_str(&as_cloud_init(text).unwrap()).unwrap();
        let told = serde_json::json!({ "a": 420, "b": [1350, "y", "08", "08"], "c": "2024-01-17" });
        assert_eq!(read, told);
        assert_eq!(as_cloud_init("a: 1\n").unwrap(), "a: 1\n");
    }
}
