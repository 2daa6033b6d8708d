//! Owns a language for small file trees, one line a file:
//!
//! ```text
//! # KIND MODE PATH [REST]
//! d 0755 /usr/share/demo
//! f 0644 /etc/demo.conf   colour = "blue"\n
//! l 0777 /usr/bin/demo    /usr/libexec/demo
//! z 0644 /usr/lib/blob    65536
//! ```
//!
//! `f` is a file with the rest of the line as its text (`\n` and `\\` are escapes), `d` a folder,
//! `l` a link to the rest, `z` a file of that many bytes which no compressor makes smaller. Missing
//! parents are made with mode 0755.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What a line makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A file with this text.
    File(String),
    /// A folder.
    Dir,
    /// A symbolic link to this target.
    Link(String),
    /// A file of this many bytes that do not compress.
    Noise(usize),
}

/// One line of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What to make.
    pub kind: Kind,
    /// Permission bits; links have none of their own.
    pub mode: u32,
    /// Where, from the tree's root: `/etc/demo.conf`.
    pub path: String,
}

/// Reads a tree; empty lines and lines that start with `#` are left out.
pub fn parse(text: &str) -> Result<Vec<Entry>> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse_line(line).with_context(|| format!("in the tree's line `{line}`"))).collect()
}

fn parse_line(line: &str) -> Result<Entry> {
    let mut rest = line;
    let mut word = || {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        word
    };
    let (kind, mode, path) = (word(), word(), word());
    if !path.starts_with('/') {
        bail!("the path does not start with `/`");
    }
    let kind = match kind {
        "f" => Kind::File(unescape(rest)),
        "d" => Kind::Dir,
        "l" => Kind::Link(rest.trim_end().to_owned()),
        "z" => Kind::Noise(rest.trim_end().parse().context("a number of bytes is needed")?),
        other => bail!("`{other}` is none of f, d, l, z"),
    };
    Ok(Entry { kind, mode: u32::from_str_radix(mode, 8).context("the mode is not octal")?, path: path.to_owned() })
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some(other) => out.push(other),
            None => out.push('\\'),
        }
    }
    out
}

/// Makes the tree `text` under the folder `root`.
pub fn write(text: &str, root: &Path) -> Result<()> {
    for entry in parse(text)? {
        let path = root.join(entry.path.trim_start_matches('/'));
        make(&entry, &path).with_context(|| format!("cannot make {}", path.display()))?;
    }
    Ok(())
}

fn make(entry: &Entry, path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match &entry.kind {
        Kind::File(text) => fs::write(path, text)?,
        Kind::Dir => fs::create_dir_all(path)?,
        Kind::Link(target) => return Ok(symlink(target, path)?),
        Kind::Noise(size) => fs::write(path, noise(*size))?,
    }
    Ok(fs::set_permissions(path, Permissions::from_mode(entry.mode))?)
}

/// The same bytes every time, by xorshift.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::from_fn(|| Some(step())).flatten().take(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let text = "# four kinds\nd 0700 /a/b\nf 0640 /a/f x\\ny\\\\\n\nl 0777 /a/l ../f\nz 0644 /z 1000";
        write(text, dir.path()).unwrap();
        let at = |path: &str| dir.path().join(path);
        assert_eq!(fs::read_to_string(at("a/f")).unwrap(), "x\ny\\");
        assert_eq!(fs::metadata(at("a/f")).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(fs::metadata(at("a/b")).unwrap().permissions().mode() & 0o7777, 0o700);
        assert_eq!(fs::read_link(at("a/l")).unwrap(), Path::new("../f"));
        assert_eq!(fs::read(at("z")).unwrap(), noise(1000));
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = parse("f 0644 /ok\nq 0644 /bad").unwrap_err();
        assert_eq!(format!("{error:#}"), "in the tree's line `q 0644 /bad`: `q` is none of f, d, l, z");
    }
}
