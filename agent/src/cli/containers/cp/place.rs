//! Owns where a copy goes: Docker's rules, as a pure function of what is there.

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A path of a container.
    Container(&'a str, &'a str),
    /// A path of this host, or `-`.
    Local(&'a str),
}

impl<'a> Place<'a> {
    /// `CONTAINER:PATH`, unless it is clearly a path.
    pub fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with(['/', '.']) && !name.is_empty() => Self::Container(name, path),
            _ => Self::Local(text),
        }
    }
}

/// What is copied.
#[derive(Debug)]
pub struct Side<'a> {
    /// It is a folder.
    pub is_dir: bool,
    /// Its path, as it was written.
    pub path: &'a str,
}

/// Why something cannot be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A folder onto a file.
    DirOntoFile,
    /// A file to a folder that is not there.
    NoSuchDir,
    /// The path says that it is a folder, and it is none.
    NotADir,
}

impl Refusal {
    /// In words.
    pub fn describe(self, target: &str) -> String {
        match self {
            Self::DirOntoFile => format!("cannot copy directory onto the file {target}"),
            Self::NoSuchDir => format!("no such directory: {target}"),
            Self::NotADir => format!("not a directory: {target}"),
        }
    }
}

/// The path that the source will have; `found` says whether the target is there and a folder.
pub fn root(source: &Side, target: &str, found: Option<bool>) -> Result<String, Refusal> {
    let trailing = target.ends_with('/') || target.ends_with("/.") || target == ".";
    let contents = source.path.ends_with("/.") || source.path == ".";
    let trimmed = trim(target);
    match found {
        Some(true) if contents => Ok(trimmed),
        Some(true) => Ok(join(&trimmed, &base(source.path))),
        Some(false) if source.is_dir => Err(Refusal::DirOntoFile),
        Some(false) if trailing => Err(Refusal::NotADir),
        None if trailing && !source.is_dir => Err(Refusal::NoSuchDir),
        Some(false) | None => Ok(trimmed),
    }
}

/// A path without what only says that it is a folder.
fn trim(path: &str) -> String {
    let mut path = path;
    while path.len() > 1 {
        match path.strip_suffix("/.").or_else(|| path.strip_suffix('/')) {
            Some("") => return "/".to_owned(),
            Some(shorter) => path = shorter,
            None => break,
        }
    }
    path.to_owned()
}

fn join(folder: &str, name: &str) -> String {
    if folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") }
}

/// The last name of a path.
fn base(path: &str) -> String {
    let path = trim(path);
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(".").to_owned()
}

/// The folder of a path, and its name there.
pub fn split(path: &str) -> (String, String) {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((folder, name)) => (folder.to_owned(), name.to_owned()),
        None => ("/".to_owned(), ".".to_owned()),
    }
}

/// Paths of a container count from its root.
pub fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Where a link at `path` leads.
pub fn linked(path: &str, target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { join(&split(path).0, target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_and_paths() {
        assert_eq!(Place::parse("web:/a:b"), Place::Container("web", "/a:b"));
        for local in ["/a:b", "./a:b", "a", "-", ":x"] {
            assert_eq!(Place::parse(local), Place::Local(local));
        }
    }

    #[test]
    fn dockers_rules() {
        let file = |path| Side { is_dir: false, path };
        let dir = |path| Side { is_dir: true, path };
        let ok = |text: &str| Ok(text.to_owned());
        assert_eq!(root(&file("/a/f"), "/t", Some(true)), ok("/t/f"));
        assert_eq!(root(&file("/a/f"), ".", Some(true)), ok("./f"));
        assert_eq!(root(&file("/a/f"), "/", Some(true)), ok("/f"));
        assert_eq!(root(&file("/a/f"), "/t", Some(false)), ok("/t"));
        assert_eq!(root(&file("/a/f"), "/t", None), ok("/t"));
        assert_eq!(root(&file("/a/f"), "/t/", None), Err(Refusal::NoSuchDir));
        assert_eq!(root(&file("/a/f"), "/t/", Some(false)), Err(Refusal::NotADir));
        assert_eq!(root(&dir("/a/d"), "/t", Some(true)), ok("/t/d"));
        assert_eq!(root(&dir("/a/d/."), "/t/", Some(true)), ok("/t"));
        assert_eq!(root(&dir("/a/d"), "/t", None), ok("/t"));
        assert_eq!(root(&dir("/a/d"), "/t/", None), ok("/t"));
        assert_eq!(root(&dir("/a/d"), "/t", Some(false)), Err(Refusal::DirOntoFile));
    }

    #[test]
    fn paths() {
        assert_eq!(split("/t/f"), ("/t".to_owned(), "f".to_owned()));
        assert_eq!(split("/f"), ("/".to_owned(), "f".to_owned()));
        assert_eq!(split("/"), ("/".to_owned(), ".".to_owned()));
        assert_eq!(linked("/a/l", "b"), "/a/b");
        assert_eq!(linked("/a/l", "/b"), "/b");
        assert_eq!(absolute("x"), "/x");
    }
}
