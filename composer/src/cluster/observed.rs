//! Owns what a machine says of itself over SSH: which boot, which versions, whether it is well. One connection
//! brings all of it, for on an emulated machine each costs a second.

use serde::Serialize;
use serde_json::Value;

/// What is run on the machine: parts between lines that name them.
pub const SCRIPT: &str = "echo '--- boot'; cat /proc/sys/kernel/random/boot_id; \
    echo '--- status'; keelctl status --json 2>/dev/null; \
    echo; echo '--- system'; systemctl is-system-running; \
    echo '--- health'; sudo -n keelctl health --json 2>/dev/null; code=$?; echo; echo \"--- exit $code\"";

/// A version that is deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deployed {
    /// The commit.
    pub checksum: String,
    /// What its commit calls it.
    pub version: Option<String>,
    /// The refspec that it follows, `REMOTE:REF`.
    #[serde(rename = "ref")]
    pub refspec: Option<String>,
}

impl Deployed {
    /// The version, or the start of the checksum.
    pub fn label(&self) -> &str {
        self.version.as_deref().unwrap_or_else(|| self.checksum.get(..12).unwrap_or(&self.checksum))
    }
}

/// Whether a machine is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// It says so.
    Good,
    /// It says what is wrong, or that it cannot tell yet.
    Bad(String),
}

/// A machine as it shows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The id of its boot.
    pub boot: String,
    /// What runs.
    pub booted: Option<Deployed>,
    /// What the next shutdown makes the one to boot.
    pub staged: Option<Deployed>,
    /// Whether it is well.
    pub health: Health,
}

/// Reads what [`SCRIPT`] printed; nothing when it does not even name a boot.
pub fn parse(text: &str) -> Option<Observed> {
    let boot = part(text, "boot").trim().to_owned();
    let status: Value = serde_json::from_str(part(text, "status").trim()).unwrap_or_default();
    let exit =
        text.lines().rev().find_map(|line| line.strip_prefix("--- exit ")).and_then(|code| code.trim().parse().ok());
    (!boot.is_empty()).then(|| Observed {
        boot,
        booted: deployed(&status["booted"]),
        staged: deployed(&status["staged"]),
        health: health(part(text, "health").trim(), exit, part(text, "system").trim()),
    })
}

/// The lines between a part's name and the next one's.
fn part<'a>(text: &'a str, name: &str) -> &'a str {
    let head = format!("--- {name}\n");
    let Some(start) = text.find(&head).map(|at| at + head.len()) else { return "" };
    let rest = &text[start..];
    let end = if rest.starts_with("--- ") { 0 } else { rest.find("\n--- ").unwrap_or(rest.len()) };
    &rest[..end]
}

fn deployed(value: &Value) -> Option<Deployed> {
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    Some(Deployed { checksum: text("checksum")?, version: text("version"), refspec: text("ref") })
}

/// What `keelctl health --json` says. A host that does not know the verb is judged by whether systemd has ended
/// starting it.
fn health(document: &str, exit: Option<i32>, system: &str) -> Health {
    let value: Value = serde_json::from_str(document).unwrap_or_default();
    match (value["healthy"].as_bool(), exit) {
        (Some(true), _) => Health::Good,
        (Some(false), _) => Health::Bad(problems(&value)),
        (None, Some(2)) if ["running", "degraded"].contains(&system) => Health::Good,
        (None, Some(2)) => Health::Bad(format!("systemd says {system}")),
        (None, _) => Health::Bad(value["error"]["message"].as_str().unwrap_or("it cannot tell").to_owned()),
    }
}

/// The checks that found something bad.
fn problems(report: &Value) -> String {
    let bad = report["checks"].as_array().into_iter().flatten().filter(|check| check["standing"] == "bad");
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let lines: Vec<String> =
        bad.map(|check| format!("{}: {}", text(&check["name"]), text(&check["message"]))).collect();
    if lines.is_empty() { "it does not say why".to_owned() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = r#"{
  "stateroot": "keelson",
  "booted": { "index": 0, "checksum": "aaa", "version": "1.0", "ref": "keelson:keelson/host" },
  "staged": { "checksum": "bbb", "version": null }
}"#;

    fn said(health: &str, exit: i32) -> String {
        format!("--- boot\nb-1\n--- status\n{STATUS}\n\n--- system\nrunning\n--- health\n{health}\n--- exit {exit}\n")
    }

    #[test]
    fn all_of_it_is_read() {
        let seen = parse(&said("{\"healthy\": true}\n", 0)).unwrap();
        assert_eq!(seen.boot, "b-1");
        let booted = seen.booted.unwrap();
        assert_eq!(
            (&*booted.checksum, booted.label(), booted.refspec.as_deref()),
            ("aaa", "1.0", Some("keelson:keelson/host"))
        );
        assert_eq!(seen.staged.unwrap().label(), "bbb");
        assert_eq!(seen.health, Health::Good);
    }

    #[test]
    fn a_host_that_is_half_up_is_no_error() {
        let seen = parse("--- boot\nb-1\n--- status\n\n--- system\nstarting\n--- health\n\n--- exit 1\n").unwrap();
        assert!(seen.booted.is_none() && seen.staged.is_none());
        assert!(matches!(seen.health, Health::Bad(_)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn health_is_told_with_its_reason() {
        let bad = |document: &str, exit| match health(document, Some(exit), "running") {
            Health::Bad(why) => why,
            Health::Good => "good".to_owned(),
        };
        assert_eq!(bad("{\"healthy\": true, \"checks\": []}", 0), "good");
        let report = r#"{"healthy": false, "checks": [
            {"name": "keeld", "standing": "good", "message": "answers"},
            {"name": "units", "standing": "bad", "message": "web.service is failed"}]}"#;
        assert_eq!(bad(report, 1), "units: web.service is failed");
        assert_eq!(bad("{\"healthy\": false}", 1), "it does not say why");
        assert_eq!(bad("{\"error\": {\"message\": \"no daemon\"}}", 1), "no daemon");
        assert_eq!(bad("", 1), "it cannot tell");
    }

    #[test]
    fn a_host_without_the_verb_is_judged_by_systemd() {
        assert_eq!(health("", Some(2), "degraded"), Health::Good);
        assert!(matches!(health("", Some(2), "starting"), Health::Bad(_)));
    }
}
