//! Owns GRUB's environment block: the one file that the boot loader itself can write, and the number in it by
//! which it counts the boots of a version that was not healthy yet. Pure.

use std::fmt::Write;

/// Where it is, below the root of the file systems.
pub const PATH: &str = "boot/grub/grubenv";
/// How often a version may boot that was not healthy yet. `grub.cfg` counts down from the same.
pub const TRIES: u32 = 3;
/// What the boot loader writes when no more are left and it boots the version behind.
pub const BEHIND: u32 = 9;
/// What is left of it.
const KEY: &str = "keelson_tries";
/// The boot loader writes it in place, so that it never grows.
const SIZE: usize = 1024;
const HEADER: &str = "# GRUB Environment Block\n";

/// The block is damaged, or full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no environment block of GRUB's with room for what it is to hold")]
pub struct Damaged;

/// The variables in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(Vec<(String, String)>);

impl Environment {
    /// Reads a block.
    pub fn parse(block: &[u8]) -> Result<Self, Damaged> {
        let text = std::str::from_utf8(block).map_err(|_| Damaged)?;
        let body = text.strip_prefix(HEADER).filter(|_| block.len() == SIZE).ok_or(Damaged)?;
        let variables = body.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        Ok(Self(variables.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }

    /// The block, filled up as GRUB does.
    pub fn block(&self) -> Result<Vec<u8>, Damaged> {
        let mut text = HEADER.to_owned();
        for (key, value) in &self.0 {
            let _ = writeln!(text, "{key}={value}");
        }
        if text.len() > SIZE {
            return Err(Damaged);
        }
        let mut block = text.into_bytes();
        block.resize(SIZE, b'#');
        Ok(block)
    }

    /// How often the version that boots first may boot before the one after it does; nothing where that is
    /// not counted.
    pub fn tries(&self) -> Option<u32> {
        self.0.iter().find(|(key, _)| key == KEY).and_then(|(_, value)| value.parse().ok())
    }

    /// Has boots counted down from `tries`, or not counted.
    pub fn set_tries(&mut self, tries: Option<u32>) {
        self.0.retain(|(key, _)| key != KEY);
        self.0.extend(tries.map(|tries| (KEY.to_owned(), tries.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_nothing_else_is_lost() {
        let block = b"# GRUB Environment Block\nsaved_entry=x\nkeelson_tries=2\n";
        let mut whole = block.to_vec();
        whole.resize(SIZE, b'#');
        let mut environment = Environment::parse(&whole).unwrap();
        assert_eq!(environment.tries(), Some(2));
        environment.set_tries(Some(TRIES));
        let again = Environment::parse(&environment.block().unwrap()).unwrap();
        assert_eq!(again.tries(), Some(3));
        environment.set_tries(None);
        assert_eq!(environment, Environment(vec![("saved_entry".into(), "x".into())]));
        assert_eq!(Environment::parse(&Environment::default().block().unwrap()), Ok(Environment::default()));
    }

    #[test]
    fn what_is_damaged_is_not_taken() {
        assert_eq!(Environment::parse(b""), Err(Damaged));
        assert_eq!(Environment::parse(&[b'#'; SIZE]), Err(Damaged));
        assert_eq!(Environment(vec![("a".into(), "x".repeat(SIZE))]).block(), Err(Damaged));
    }

    #[test]
    fn grubs_own_tool_reads_it_and_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("grubenv");
        let mut environment = Environment::default();
        environment.set_tries(Some(TRIES));
        std::fs::write(&file, environment.block().unwrap()).unwrap();
        let tool = |words: &[&str]| {
            let done = Command::new("grub-editenv").arg(&file).args(words).output().expect("apt install grub-common");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            String::from_utf8(done.stdout).unwrap()
        };
        assert_eq!(tool(&["list"]), "keelson_tries=3\n");
        tool(&["set", "keelson_tries=1", "other=y"]);
        assert_eq!(Environment::parse(&std::fs::read(&file).unwrap()).unwrap().tries(), Some(1));
    }
}
