//! Owns what `HEAD /containers/{id}/archive` says of a file, in the terms of Go.

use rustix::fs::{FileType, Stat};
use serde_json::{Value, json};

use crate::streams::lines::rfc3339;

/// The value of the header, before it is encoded.
pub fn path_stat(name: &str, stat: &Stat, target: Option<&str>) -> Value {
    let nanos = u64::try_from(stat.st_mtime).unwrap_or_default() * 1_000_000_000 + stat.st_mtime_nsec;
    json!({
        "name": if name.is_empty() { "/" } else { name },
        "size": stat.st_size,
        "mode": go_mode(stat.st_mode),
        "mtime": rfc3339(nanos),
        "linkTarget": target.unwrap_or_default(),
    })
}

/// A mode as Go's `os.FileMode` has it.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    special.iter().filter(|(bit, _)| mode & bit != 0).fold(mode & 0o777 | kind, |mode, (_, bit)| mode | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        assert_eq!(go_mode(0o040755), 2_147_484_141);
        assert_eq!(go_mode(0o120777), 134_218_239);
        assert_eq!(go_mode(0o100640), 0o640);
        assert_eq!(go_mode(0o041777), 1 << 31 | 1 << 20 | 0o777);
        assert_eq!(go_mode(0o104755), 1 << 23 | 0o755);
    }
}
