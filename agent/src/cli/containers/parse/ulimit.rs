//! Owns `--ulimit`: `NAME=SOFT[:HARD]`.

use bollard::models::ResourcesUlimits;

const NAMES: [&str; 16] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
    "as",
];

/// One limit.
pub fn ulimit(text: &str) -> Result<ResourcesUlimits, String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let value =
        |text: &str| text.parse::<i64>().map_err(|_| format!("invalid ulimit value '{text}' in {name}={values}"));
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let (soft, hard) = (value(soft)?, value(hard)?);
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(ResourcesUlimits { name: Some(name.to_owned()), soft: Some(soft), hard: Some(hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_and_hard() {
        let of = |text| ulimit(text).map(|limit| (limit.name.unwrap(), limit.soft.unwrap(), limit.hard.unwrap()));
        assert_eq!(of("nofile=1024:2048"), Ok(("nofile".to_owned(), 1024, 2048)));
        assert_eq!(of("nproc=10"), Ok(("nproc".to_owned(), 10, 10)));
        assert_eq!(of("core=5:-1"), Ok(("core".to_owned(), 5, -1)));
        assert!(of("nofile=2:1").unwrap_err().contains("less than or equal"));
        assert_eq!(of("foo=1"), Err("invalid ulimit type: foo".to_owned()));
        assert!(of("nofile").is_err() && of("nofile=a").is_err() && of("nofile=1:2:3").is_err());
    }
}
