//! Owns what the nodes of a cluster tell each other of versions that were not healthy: one ConfigMap with an
//! entry for each, so that a version that one host went back from is not tried by all the others in turn.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde::{Deserialize, Serialize};

use super::TRIES;
use super::lock::{LockError, NAMESPACE, refused};

/// The ConfigMap. Its keys are the checksums of commits.
pub const MAP: &str = "keelson-given-up";
/// How many versions are remembered; the oldest go first.
const KEPT: usize = 32;
/// What is tried, as an error says it.
const NOTE: &str = "note a version that was given up";

/// A version that a node gave up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who did.
    pub node: String,
    /// When, RFC 3339.
    pub time: String,
    /// The version's name.
    pub version: String,
    /// What was not well.
    pub why: String,
}

/// Finds who gave a commit up, if anybody did.
pub async fn find(client: &kube::Client, checksum: &str) -> Result<Option<Entry>, LockError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let map = maps.get_opt(MAP).await.map_err(refused("tell which versions were given up"))?;
    Ok(map.and_then(|map| entry(&map.data?, checksum)))
}

/// Notes that a commit was given up; the first node that did stays on record.
pub async fn note(client: &kube::Client, checksum: &str, entry: &Entry) -> Result<(), LockError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    for _ in 0..TRIES {
        let found = maps.get_opt(MAP).await.map_err(refused(NOTE))?;
        let there = found.is_some();
        let mut map = found.unwrap_or_default();
        let Some(data) = with(map.data.take().unwrap_or_default(), checksum, entry) else { return Ok(()) };
        map.data = Some(data);
        map.metadata.name = Some(MAP.to_owned());
        let params = PostParams::default();
        let written = if there { maps.replace(MAP, &params, &map).await } else { maps.create(&params, &map).await };
        match written {
            Ok(_) => return Ok(()),
            // Made, written or removed by another in between.
            Err(kube::Error::Api(status)) if status.code == 409 || (there && status.code == 404) => {}
            Err(error) => return Err(refused(NOTE)(error)),
        }
    }
    Err(LockError::Contended)
}

fn entry(data: &BTreeMap<String, String>, checksum: &str) -> Option<Entry> {
    let text = data.get(checksum)?;
    // What a person wrote there by hand counts as well.
    let written =
        || Entry { node: "somebody".into(), time: String::new(), version: checksum.into(), why: text.clone() };
    Some(serde_json::from_str(text).unwrap_or_else(|_| written()))
}

/// The entries with one more, or nothing where it is there already.
fn with(mut data: BTreeMap<String, String>, checksum: &str, entry: &Entry) -> Option<BTreeMap<String, String>> {
    if data.contains_key(checksum) {
        return None;
    }
    let age = |text: &str| serde_json::from_str::<Entry>(text).map(|entry| entry.time).unwrap_or_default();
    while data.len() >= KEPT {
        let oldest = data.iter().min_by_key(|(_, text)| age(text)).map(|(key, _)| key.clone())?;
        data.remove(&oldest);
    }
    data.insert(checksum.to_owned(), serde_json::to_string(entry).ok()?);
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: usize) -> Entry {
        let time = format!("2026-01-01T00:00:{number:02}Z");
        Entry { node: "one".into(), time, version: format!("1.{number}"), why: "a unit failed".into() }
    }

    #[test]
    fn the_first_who_gave_up_stays_and_the_oldest_go() {
        let data = with(BTreeMap::new(), "aa", &of(1)).unwrap();
        assert_eq!(entry(&data, "aa"), Some(of(1)));
        assert_eq!(entry(&data, "bb"), None);
        assert_eq!(with(data.clone(), "aa", &of(2)), None);
        let full = (2..=KEPT).fold(data, |data, number| with(data, &format!("b{number}"), &of(number)).unwrap());
        assert_eq!(full.len(), KEPT);
        let more = with(full, "cc", &of(50)).unwrap();
        assert_eq!((more.len(), more.contains_key("aa"), more.contains_key("cc")), (KEPT, false, true));
    }

    #[test]
    fn what_was_written_by_hand_counts() {
        let data = BTreeMap::from([("aa".to_owned(), "breaks our disks".to_owned())]);
        let found = entry(&data, "aa").unwrap();
        assert_eq!((found.node.as_str(), found.why.as_str()), ("somebody", "breaks our disks"));
    }
}
