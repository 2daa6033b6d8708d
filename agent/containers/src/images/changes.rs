//! `docker commit --change`: instructions as in a Dockerfile, put into a configuration.

use std::time::Duration;

use bollard::models::{HealthConfig, ImageConfig};

use crate::error::{Error, Result};
use crate::words;

/// Applies instructions, one a text, or several in the lines of one.
pub fn apply(config: &mut ImageConfig, changes: &[String]) -> Result<()> {
    let lines = changes.iter().flat_map(|change| change.lines()).map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).try_for_each(|line| instruction(config, line))
}

fn instruction(config: &mut ImageConfig, line: &str) -> Result<()> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let word = word.to_uppercase();
    if rest.is_empty() {
        return Err(Error::Invalid(format!("{word} requires an argument")));
    }
    match word.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => pairs(&word, rest)?.into_iter().for_each(|(key, value)| set_variable(config, &key, &value)),
        "EXPOSE" => expose(config, rest)?,
        "LABEL" => config.labels.get_or_insert_default().extend(pairs(&word, rest)?),
        "ONBUILD" => config.on_build.get_or_insert_default().push(rest.to_owned()),
        "USER" => config.user = Some(rest.to_owned()),
        "VOLUME" => add_new(config.volumes.get_or_insert_default(), list(rest)?),
        "WORKDIR" => config.working_dir = Some(folder(config.working_dir.as_deref(), rest)),
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "SHELL" => {
            config.shell = Some(json(rest).ok_or_else(|| Error::Invalid("SHELL requires a JSON array".to_owned()))?)
        }
        "HEALTHCHECK" => config.healthcheck = Some(health(rest)?),
        other => return Err(Error::Invalid(format!("{other} is not a valid change command"))),
    }
    Ok(())
}

fn json(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// A command: words as JSON, or a line for the shell.
fn command(text: &str) -> Vec<String> {
    json(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn words_of(text: &str) -> Result<Vec<String>> {
    shlex::split(text).ok_or_else(|| Error::Invalid(format!("a quote does not end in {text:?}")))
}

/// `KEY=VALUE …`, or as in old times `KEY VALUE`.
fn pairs(word: &str, text: &str) -> Result<Vec<(String, String)>> {
    if let Some((key, value)) = text.split_once(char::is_whitespace)
        && !key.contains('=')
    {
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    let pair = |pair: String| {
        let parts = pair.split_once('=').filter(|(key, _)| !key.is_empty());
        let parts = parts.map(|(key, value)| (key.to_owned(), value.to_owned()));
        parts.ok_or_else(|| Error::Invalid(format!("{word} must have the form KEY=VALUE, not {pair:?}")))
    };
    words_of(text)?.into_iter().map(pair).collect()
}

fn set_variable(config: &mut ImageConfig, key: &str, value: &str) {
    let all = config.env.get_or_insert_default();
    let text = format!("{key}={value}");
    match all.iter_mut().find(|have| have.split('=').next() == Some(key)) {
        Some(have) => *have = text,
        None => all.push(text),
    }
}

fn list(text: &str) -> Result<Vec<String>> {
    json(text).map_or_else(|| words_of(text), Ok)
}

fn add_new(have: &mut Vec<String>, more: Vec<String>) {
    for one in more {
        if !have.contains(&one) {
            have.push(one);
        }
    }
}

/// `80`, `53/udp`, `8000-8002`.
fn expose(config: &mut ImageConfig, text: &str) -> Result<()> {
    for word in words_of(text)? {
        let invalid = || Error::Invalid(format!("Invalid containerPort: {word}"));
        let (range, protocol) = word.split_once('/').unwrap_or((&word, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let port = |text: &str| text.parse::<u16>().map_err(|_| invalid());
        let (first, last) = (port(first)?, port(last)?);
        if first > last || !matches!(protocol, "tcp" | "udp" | "sctp") {
            return Err(invalid());
        }
        let ports = (first..=last).map(|port| format!("{port}/{protocol}")).collect();
        add_new(config.exposed_ports.get_or_insert_default(), ports);
    }
    Ok(())
}

/// A folder, from the one before where it does not begin with a slash.
fn folder(before: Option<&str>, text: &str) -> String {
    let path = std::path::Path::new(before.filter(|before| !before.is_empty()).unwrap_or("/")).join(text);
    path.to_string_lossy().into_owned()
}

/// `NONE`, or `[--interval=30s …] CMD …`.
fn health(text: &str) -> Result<HealthConfig> {
    let mut health = HealthConfig::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let invalid = || Error::Invalid(format!("HEALTHCHECK does not know --{flag}"));
        let (name, value) = flag.split_once('=').ok_or_else(invalid)?;
        let time = || {
            let time: Duration = words::duration(value).map_err(|why| Error::Invalid(format!("--{name}: {why}")))?;
            Ok::<_, Error>(i64::try_from(time.as_nanos()).ok())
        };
        match name {
            "interval" => health.interval = time()?,
            "timeout" => health.timeout = time()?,
            "start-period" => health.start_period = time()?,
            "start-interval" => health.start_interval = time()?,
            "retries" => health.retries = Some(value.parse().map_err(|_| invalid())?),
            _ => return Err(invalid()),
        }
        rest = after.trim_start();
    }
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    health.test = Some(match (word.to_uppercase().as_str(), rest.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", rest) if !rest.is_empty() => match json(rest) {
            Some(words) => ["CMD".to_owned()].into_iter().chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), rest.to_owned()],
        },
        _ => return Err(Error::Invalid("HEALTHCHECK requires CMD with a command, or NONE".to_owned())),
    });
    Ok(health)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> ImageConfig {
        let mut config = ImageConfig {
            env: Some(vec!["PATH=/bin".to_owned(), "A=1".to_owned()]),
            working_dir: Some("/srv".to_owned()),
            ..ImageConfig::default()
        };
        apply(&mut config, &changes.iter().map(|change| (*change).to_owned()).collect::<Vec<_>>()).unwrap();
        config
    }

    fn refused(change: &str) -> String {
        apply(&mut ImageConfig::default(), &[change.to_owned()]).unwrap_err().to_string()
    }

    #[test]
    fn commands_have_two_forms() {
        let config = changed(&["CMD [\"a\", \"b c\"]", "entrypoint exec a"]);
        assert_eq!(config.cmd.unwrap(), ["a", "b c"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "exec a"]);
    }

    #[test]
    fn variables_are_set_and_replaced() {
        let config = changed(&["ENV A=2 B=\"x y\"", "ENV C d e\nENV E="]);
        assert_eq!(config.env.unwrap(), ["PATH=/bin", "A=2", "B=x y", "C=d e", "E="]);
        assert_eq!(changed(&["LABEL a=b 'c d=e'"]).labels.unwrap()["c d"], "e");
        assert!(refused("ENV =x").contains("KEY=VALUE"));
        assert!(refused("ENV A=\"x").contains("quote"));
    }

    #[test]
    fn ports_volumes_and_folders() {
        let config =
            changed(&["EXPOSE 80 53/udp 8000-8001", "EXPOSE 80", "VOLUME /a /b", "VOLUME [\"/b\"]", "WORKDIR x"]);
        assert_eq!(config.exposed_ports.unwrap(), ["80/tcp", "53/udp", "8000/tcp", "8001/tcp"]);
        assert_eq!(config.volumes.unwrap(), ["/a", "/b"]);
        assert_eq!(config.working_dir.unwrap(), "/srv/x");
        assert_eq!(changed(&["WORKDIR /y"]).working_dir.unwrap(), "/y");
        assert_eq!(refused("EXPOSE 99999"), "Invalid containerPort: 99999");
    }

    #[test]
    fn health_checks() {
        let health = changed(&["HEALTHCHECK --interval=5s --retries=2 CMD test -e /x"]).healthcheck.unwrap();
        assert_eq!((health.interval, health.retries), (Some(5_000_000_000), Some(2)));
        assert_eq!(health.test.unwrap(), ["CMD-SHELL", "test -e /x"]);
        assert_eq!(changed(&["HEALTHCHECK CMD [\"a\"]"]).healthcheck.unwrap().test.unwrap(), ["CMD", "a"]);
        assert_eq!(changed(&["HEALTHCHECK NONE"]).healthcheck.unwrap().test.unwrap(), ["NONE"]);
        assert!(refused("HEALTHCHECK --every=1s CMD x").contains("--every"));
    }

    #[test]
    fn other_instructions_are_refused() {
        assert_eq!(refused("RUN x"), "RUN is not a valid change command");
        assert_eq!(refused("CMD"), "CMD requires an argument");
    }
}
