//! Owns which version a compose has: a pure function of the manifest's rule and the version before.

use crate::manifest::VersionRule;

/// The version of the next commit; `previous` is that of the commit it follows.
pub fn next(rule: &VersionRule, previous: Option<&str>) -> String {
    match rule {
        VersionRule::Fixed(version) => version.clone(),
        VersionRule::Counter { prefix } => {
            let count = previous.and_then(|version| version.strip_prefix(prefix.as_str())?.parse::<u64>().ok());
            format!("{prefix}{}", count.map_or(0, |count| count + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_on_from_the_previous_version_of_the_same_prefix() {
        let rule = VersionRule::Counter { prefix: "13.".into() };
        assert_eq!(next(&rule, None), "13.0");
        assert_eq!(next(&rule, Some("13.9")), "13.10");
        assert_eq!(next(&rule, Some("12.9")), "13.0");
        assert_eq!(next(&VersionRule::Fixed("7".into()), Some("7")), "7");
    }
}
