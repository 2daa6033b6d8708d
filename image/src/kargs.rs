//! Owns the kernel arguments of a new deployment. Pure.

use uuid::Uuid;

use crate::ImageError;

/// Both consoles; the last one is `/dev/console`.
const CONSOLES: [&str; 2] = ["console=tty0", "console=ttyS0,115200n8"];
/// What GRUB's script language would take for itself.
const GRUB_SPECIAL: &str = ";&|<>{}$'\"\\#";

/// The arguments to deploy with: where the root is, both consoles (unless the commit or the request
/// names consoles of its own), then the commit's and the request's, without exact repetitions.
pub fn compose(root_fs: Uuid, commit: &[String], extra: &[String]) -> Result<Vec<String>, ImageError> {
    let own = || commit.iter().chain(extra);
    let mut kargs = vec![format!("root=UUID={root_fs}"), "rw".to_owned()];
    if !own().any(|karg| karg.starts_with("console=")) {
        kargs.extend(CONSOLES.map(str::to_owned));
    }
    for karg in own() {
        check(karg)?;
        if !kargs.contains(karg) {
            kargs.push(karg.clone());
        }
    }
    Ok(kargs)
}

fn check(karg: &str) -> Result<(), ImageError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || GRUB_SPECIAL.contains(c);
    match karg.chars().find(|c| bad(*c)) {
        None if !karg.is_empty() => Ok(()),
        None => Err(ImageError::Karg { karg: karg.to_owned(), reason: "it is empty".to_owned() }),
        Some(c) => Err(ImageError::Karg { karg: karg.to_owned(), reason: format!("GRUB cannot pass on {c:?}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(kargs: &[&str]) -> Vec<String> {
        kargs.iter().map(|karg| (*karg).to_owned()).collect()
    }

    #[test]
    fn adds_root_and_consoles_and_drops_repetitions() {
        let kargs = compose(Uuid::nil(), &list(&["quiet"]), &list(&["quiet", "rw", "loglevel=3"])).unwrap();
        let root = format!("root=UUID={}", Uuid::nil());
        assert_eq!(kargs, [&root, "rw", "console=tty0", "console=ttyS0,115200n8", "quiet", "loglevel=3"]);
    }

    #[test]
    fn consoles_of_the_commit_replace_ours() {
        let kargs = compose(Uuid::nil(), &list(&["console=ttyS1"]), &[]).unwrap();
        assert_eq!(kargs[2..], ["console=ttyS1"]);
    }

    #[test]
    fn refuses_what_grub_would_interpret() {
        for karg in ["a=$b", "a;reboot", "a b", "x=\"y\"", ""] {
            assert!(compose(Uuid::nil(), &[], &list(&[karg])).is_err(), "{karg}");
        }
    }
}
