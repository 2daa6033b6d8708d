//! Owns `${name}` in what people write, manifests and templates of user-data: words put in by name.

/// Why a text cannot be expanded; `at` is the offset of its `${`.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong<'a> {
    /// There is no such word.
    Unknown {
        /// Where.
        at: usize,
        /// Its name.
        name: &'a str,
    },
    /// It is never closed.
    Open {
        /// Where.
        at: usize,
    },
}

/// Puts in what `word` gives for each name.
pub fn expand<'a, 'w>(text: &'a str, word: impl Fn(&str) -> Option<&'w str>) -> Result<String, Wrong<'a>> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let at = text.len() - rest.len() + before.len();
        let (name, after) = after.split_once('}').ok_or(Wrong::Open { at })?;
        out.push_str(before);
        out.push_str(word(name).ok_or(Wrong::Unknown { at, name })?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_put_in_once() {
        let word = |name: &str| (name == "a").then_some("${a}");
        assert_eq!(expand("x${a}y $HOME", word).as_deref(), Ok("x${a}y $HOME"));
        assert_eq!(expand("x ${b}", word), Err(Wrong::Unknown { at: 2, name: "b" }));
        assert_eq!(expand("${a} ${a", word), Err(Wrong::Open { at: 5 }));
    }
}
