//! Owns files of environment variables, as Docker's --env-file reads them.

/// The variables of a file, `KEY=VALUE` a line; empty lines and those that begin with `#` mean
/// nothing. Fails with the line's number.
pub fn parse(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once('=') {
            Some((key, _)) if !key.is_empty() && !key.contains(char::is_whitespace) => all.push(line.to_owned()),
            _ => return Err(format!("line {} is not KEY=VALUE", index + 1)),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_are() {
        assert_eq!(parse("# x\n\nA=1\n  B=a b # c\nC=\n"), Ok(vec!["A=1".into(), "B=a b # c".into(), "C=".into()]));
        assert_eq!(parse("A=1\nB\n"), Err("line 2 is not KEY=VALUE".into()));
        assert!(parse("A B=1").is_err());
    }
}
