//! Owns what happens to kernel arguments, purely: a person's edits, and the three-way merge that
//! carries them from one commit's defaults to the next's.

use crate::model::request::KargsEdit;

/// libostree writes this one itself, for each deployment anew.
const OSTREE: &str = "ostree";

/// Why an edit cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KargsError {
    /// Nothing to delete or replace.
    #[error("kernel argument `{arg}` is not set; `keelctl kargs` lists those that are")]
    Missing {
        /// What was asked for.
        arg: String,
    },
    /// More than one candidate.
    #[error("kernel argument `{key}` is set more than once; say which: {remedy}")]
    Ambiguous {
        /// The key.
        key: String,
        /// How to say it.
        remedy: String,
    },
    /// Not an argument.
    #[error("`{arg}` is not a kernel argument: expected KEY or KEY=VALUE without spaces, and not `ostree=`")]
    Malformed {
        /// What was given.
        arg: String,
    },
}

/// The arguments of a boot entry's `options` line, without libostree's own. Quoted spaces stay
/// within their argument, as the kernel reads them.
pub fn parse(options: &str) -> Vec<String> {
    let (mut args, mut arg, mut quoted) = (Vec::new(), String::new(), false);
    for c in options.chars() {
        match c {
            c if c.is_whitespace() && !quoted => args.extend(std::iter::once(std::mem::take(&mut arg))),
            c => {
                quoted ^= c == '"';
                arg.push(c);
            }
        }
    }
    args.push(arg);
    args.retain(|arg| !arg.is_empty() && key(arg) != OSTREE);
    args
}

/// The key of `key` or `key=value`.
pub fn key(arg: &str) -> &str {
    arg.split_once('=').map_or(arg, |(key, _)| key)
}

/// Applies a person's edit: deletions, then replacements, then additions.
pub fn edit(current: &[String], edit: &KargsEdit) -> Result<Vec<String>, KargsError> {
    let mut args = current.to_vec();
    for arg in edit.delete.iter().chain(&edit.replace).chain(&edit.append) {
        check(arg)?;
    }
    for arg in &edit.delete {
        delete(&mut args, arg)?;
    }
    for arg in &edit.replace {
        replace(&mut args, arg)?;
    }
    args.extend(edit.append.iter().cloned());
    Ok(args)
}

fn check(arg: &str) -> Result<(), KargsError> {
    let malformed = arg.is_empty() || arg.starts_with('=') || key(arg) == OSTREE || parse(arg).len() != 1;
    if malformed { Err(KargsError::Malformed { arg: arg.to_owned() }) } else { Ok(()) }
}

/// `key=value` takes that one away; `key` alone takes the one there is.
fn delete(args: &mut Vec<String>, arg: &str) -> Result<(), KargsError> {
    let exact = args.iter().position(|have| have == arg);
    let named: Vec<usize> = (0..args.len()).filter(|&i| key(&args[i]) == arg).collect();
    let index = match (exact, named.as_slice()) {
        (Some(index), _) => index,
        (None, [index]) => *index,
        (None, []) => return Err(KargsError::Missing { arg: arg.to_owned() }),
        (None, _) => {
            let remedy = format!("--delete {}", args[named[0]]);
            return Err(KargsError::Ambiguous { key: arg.to_owned(), remedy });
        }
    };
    args.remove(index);
    Ok(())
}

/// `key=new` where the key is there once; `key=old=new` picks one of several.
fn replace(args: &mut [String], arg: &str) -> Result<(), KargsError> {
    let name = key(arg);
    if let Some((old, new)) = arg.rsplit_once('=').filter(|(old, _)| old.contains('='))
        && let Some(index) = args.iter().position(|have| have == old)
    {
        args[index] = format!("{name}={new}");
        return Ok(());
    }
    let named: Vec<usize> = (0..args.len()).filter(|&i| key(&args[i]) == name).collect();
    match named.as_slice() {
        [index] => args[*index] = arg.to_owned(),
        [] => return Err(KargsError::Missing { arg: name.to_owned() }),
        _ => {
            let remedy = format!("--replace {}=NEW", args[named[0]]);
            return Err(KargsError::Ambiguous { key: name.to_owned(), remedy });
        }
    }
    Ok(())
}

/// Carries `current` from the old commit's defaults to the new one's. What a default changed to
/// changes in its place; what a person added stays, what a person changed or took away stays so.
pub fn merge(current: &[String], old: &[String], new: &[String]) -> Vec<String> {
    let mut gone = minus(old, new);
    let mut come = minus(new, old);
    let mut args = current.to_vec();
    // A default with a new value: in place where the old value still stands, else it was the
    // person's to decide and stays as they left it.
    come.retain(|fresh| match gone.iter().position(|stale| key(stale) == key(fresh)) {
        None => true,
        Some(pair) => {
            let stale = gone.remove(pair);
            if let Some(at) = args.iter().position(|have| *have == stale) {
                args[at] = fresh.clone();
            }
            false
        }
    });
    for stale in gone {
        if let Some(at) = args.iter().position(|have| *have == stale) {
            args.remove(at);
        }
    }
    for fresh in come {
        if args.contains(&fresh) {
            continue;
        }
        // The kernel takes the last of several: a person's own value must stay behind the default.
        let at = args.iter().position(|have| key(have) == key(&fresh)).unwrap_or(args.len());
        args.insert(at, fresh);
    }
    args
}

/// `a` without one occurrence of each of `b`.
fn minus(a: &[String], b: &[String]) -> Vec<String> {
    let mut b = b.to_vec();
    a.iter()
        .filter(|arg| match b.iter().position(|have| have == *arg) {
            Some(at) => {
                b.remove(at);
                false
            }
            None => true,
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn parse_leaves_out_ostree_and_keeps_quotes() {
        let got = parse("root=UUID=1 ostree=/ostree/boot.1/x/0  quiet dyndbg=\"file a +p\"");
        assert_eq!(got, ["root=UUID=1", "quiet", "dyndbg=\"file a +p\""]);
    }

    #[test]
    fn edits_apply_in_order() {
        let edit_ = KargsEdit { delete: args("quiet"), replace: args("a=2"), append: args("b c=3") };
        assert_eq!(edit(&args("quiet a=1"), &edit_), Ok(args("a=2 b c=3")));
    }

    #[test]
    fn several_of_a_key_need_the_value() {
        let current = args("console=tty0 console=ttyS0");
        let by_key = KargsEdit { delete: args("console"), ..KargsEdit::default() };
        assert!(matches!(edit(&current, &by_key), Err(KargsError::Ambiguous { .. })));
        let by_value = KargsEdit { delete: args("console=tty0"), ..KargsEdit::default() };
        assert_eq!(edit(&current, &by_value), Ok(args("console=ttyS0")));
        let one = KargsEdit { replace: args("console=tty0=tty1"), ..KargsEdit::default() };
        assert_eq!(edit(&current, &one), Ok(args("console=tty1 console=ttyS0")));
    }

    #[test]
    fn replace_allows_equals_in_the_value() {
        let edit_ = KargsEdit { replace: args("root=UUID=2"), ..KargsEdit::default() };
        assert_eq!(edit(&args("root=UUID=1"), &edit_), Ok(args("root=UUID=2")));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "=x", "ostree=/x", "a b"] {
            let edit_ = KargsEdit { append: vec![bad.into()], ..KargsEdit::default() };
            assert!(matches!(edit(&[], &edit_), Err(KargsError::Malformed { .. })), "{bad}");
        }
        let edit_ = KargsEdit { delete: args("nope"), ..KargsEdit::default() };
        assert!(matches!(edit(&args("a"), &edit_), Err(KargsError::Missing { .. })));
    }

    #[test]
    fn merge_changes_a_default_in_place() {
        let got =
            merge(&args("root=x console=ttyS0 quiet"), &args("console=ttyS0 quiet"), &args("console=ttyS1 quiet"));
        assert_eq!(got, args("root=x console=ttyS1 quiet"));
    }

    #[test]
    fn merge_keeps_what_a_person_did() {
        let (old, new) = (args("quiet loglevel=3 gone"), args("quiet loglevel=4 fresh"));
        assert_eq!(merge(&args("quiet loglevel=7 gone mine"), &old, &new), args("quiet loglevel=7 mine fresh"));
        assert_eq!(merge(&args("loglevel=3"), &old, &new), args("loglevel=4 fresh"), "quiet stays deleted");
        assert_eq!(merge(&args("quiet mine"), &old, &new), args("quiet mine fresh"), "loglevel stays deleted");
    }

    #[test]
    fn a_new_default_stands_before_a_persons_own_value() {
        assert_eq!(merge(&args("panic=30"), &[], &args("panic=5")), args("panic=5 panic=30"));
        assert_eq!(merge(&args("panic=5"), &[], &args("panic=5")), args("panic=5"));
    }
}
