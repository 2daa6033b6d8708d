//! Owns lines of tmpfiles.d(5): parsing the packages' own, moving their paths to where the OSTree
//! layout has them, and writing ours.

use std::fmt;

use super::error::LayoutError;
use super::root::Root;

/// Folders of the root that the OSTree layout turns into links, and what they link to.
pub const MOVED: [(&str, &str); 6] = [
    ("home", "var/home"),
    ("mnt", "var/mnt"),
    ("opt", "var/opt"),
    ("root", "var/roothome"),
    ("srv", "var/srv"),
    ("usr/local", "var/usrlocal"),
];

/// One line that makes something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// `d`: a folder with permission bits and the names of owner and group.
    Dir(u32, String, String),
    /// `f`: an empty file with permission bits and the names of owner and group.
    Empty(u32, String, String),
    /// `C`: a copy of the file of the same name under `/usr/share/factory`.
    Copy,
    /// `L`: a symbolic link with this target.
    Link(String),
}

/// A line for an absolute path.
#[derive(Debug)]
pub struct Line<'a>(pub &'a str, pub &'a Entry);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escape(self.0);
        match self.1 {
            Entry::Dir(mode, user, group) => write!(f, "d {path} {mode:04o} {user} {group} -"),
            Entry::Empty(mode, user, group) => write!(f, "f {path} {mode:04o} {user} {group} -"),
            Entry::Copy => write!(f, "C {path} - - - -"),
            Entry::Link(target) => write!(f, "L {path} - - - - {}", target.replace('%', "%%")),
        }
    }
}

/// A path as tmpfiles.d wants it: C escapes for blanks, quotes and the like, `%` doubled.
fn escape(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'%' => text.push_str("%%"),
            b'!' | b'#'..=b'&' | b'('..=b'[' | b']'..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// The absolute path that a line of tmpfiles.d makes, `None` for comments and for lines that only
/// adjust, clean or remove.
pub fn made_path(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let kind = words.next()?;
    let path = words.next()?;
    let makes = kind.starts_with(['d', 'D', 'f', 'F', 'v', 'q', 'Q', 'p', 'L', 'C', 'c', 'b']);
    (makes && path.starts_with('/')).then(|| if path.len() > 1 { path.trim_end_matches('/') } else { path })
}

/// The paths that the root's own tmpfiles.d files make.
pub fn made_by_packages(root: &Root) -> Result<Vec<String>, LayoutError> {
    let mut made = Vec::new();
    for folder in ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"] {
        for name in root.list(folder)?.into_iter().filter(|name| name.ends_with(".conf")) {
            let text = root.read(&format!("{folder}/{name}"))?.unwrap_or_default();
            made.extend(text.lines().filter_map(made_path).map(str::to_owned));
        }
    }
    Ok(made)
}

/// Points the lines of the packages' files at the places behind our links: systemd-tmpfiles will
/// not make `/home` where a link is, nor follow one that leaves a folder owned by another user.
pub fn follow_links(root: &Root) -> Result<(), LayoutError> {
    for name in root.list("usr/lib/tmpfiles.d")? {
        let path = format!("usr/lib/tmpfiles.d/{name}");
        let Some(text) = root.read(&path)? else { continue };
        let moved: String = text.split_inclusive('\n').map(follow_line).collect();
        if moved != text {
            root.rewrite(&path, moved)?;
        }
    }
    Ok(())
}

fn follow_line(line: &str) -> String {
    if line.starts_with('#') {
        return line.to_owned();
    }
    let path = line.split_whitespace().nth(1).unwrap_or_default();
    for (from, to) in MOVED {
        let rest = path.strip_prefix('/').and_then(|path| path.strip_prefix(from));
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return line.replacen(path, &format!("/{to}{rest}"), 1);
        }
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_lines_that_systemd_reads() {
        let dir = Entry::Dir(0o2755, "root".into(), "systemd-journal".into());
        assert_eq!(Line("/var/log/journal", &dir).to_string(), "d /var/log/journal 2755 root systemd-journal -");
        assert_eq!(Line("/var/a b%\"", &Entry::Copy).to_string(), r"C /var/a\x20b%%\x22 - - - -");
        let link = Entry::Link("../x".into());
        assert_eq!(Line("/var/l", &link).to_string(), "L /var/l - - - - ../x");
    }

    #[test]
    fn knows_which_lines_make_something() {
        assert_eq!(made_path("d$ /var/lib/systemd/network 0755 a b -"), Some("/var/lib/systemd/network"));
        assert_eq!(made_path("L! /etc/resolv.conf - - - - x"), Some("/etc/resolv.conf"));
        assert_eq!(made_path("z /var/log/journal 2755"), None);
        assert_eq!(made_path("# d /var/x"), None);
        assert_eq!(made_path(""), None);
    }

    #[test]
    fn moves_paths_behind_links() {
        assert_eq!(follow_line("Q /home 0755 - - -\n"), "Q /var/home 0755 - - -\n");
        assert_eq!(follow_line("d- /root/.ssh :0700 root :root -"), "d- /var/roothome/.ssh :0700 root :root -");
        assert_eq!(follow_line("d /rootless 0755"), "d /rootless 0755");
        assert_eq!(follow_line("d /homes/home 0755"), "d /homes/home 0755");
    }
}
