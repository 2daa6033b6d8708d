//! Owns the reboot lock of a cluster: a ConfigMap for each slot, which names the node that has it. It is taken
//! and given back by writes that fail when another came before.
//!
//! Leases would be the obvious objects, but admission lets a node write no Lease but its own.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::Api;
use kube::api::{ListParams, PostParams};

use super::given_up::{self, Entry};
use super::{TRIES, words};

/// The namespace of the slots.
pub const NAMESPACE: &str = "keelson";
/// How their names begin; a number follows.
const PREFIX: &str = "keelson-reboot-";
/// The key that names the holder.
const HOLDER: &str = "holder";
/// The key that says since when.
const SINCE: &str = "since";

/// Why there is no slot.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Others have all.
    #[error("no node may reboot now: {}", .0.join(", "))]
    Held(Vec<String>),
    /// It is wanted for a version that another node gave up.
    #[error(
        "{} gave {} up as unhealthy ({}), so that no other node goes over to it by itself; `keelctl updates apply` does, \
        and removing {checksum} from the ConfigMap {} in the namespace {NAMESPACE} lets all",
        .entry.node, .entry.version, .entry.why, given_up::MAP
    )]
    GivenUp {
        /// The commit.
        checksum: String,
        /// Who, and why.
        entry: Box<Entry>,
    },
    /// The cluster was not set up for it.
    #[error("the cluster lets its nodes keep no reboot lock ({0}); apply manifests/kubernetes/joining.yaml to it")]
    Rights(String),
    /// The API server failed.
    #[error("the API server could not {what}: {message}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// Its words.
        message: String,
    },
    /// Others were always quicker.
    #[error("other nodes changed the reboot lock all the time; try again")]
    Contended,
}

/// A slot as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    name: String,
    /// The object's version, where there is one.
    version: Option<String>,
    holder: Option<String>,
}

/// What to do about them.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// The node has one.
    Mine(String),
    /// This one is free.
    Take(Slot),
    /// Others have all.
    Full,
}

/// Takes one of `slots` for the node, or keeps the one it has; gives the slot's name. `version` is the commit
/// that it is for: there is no slot for one that another node gave up.
pub async fn take(client: &kube::Client, node: &str, slots: u32, version: Option<&str>) -> Result<String, LockError> {
    refuse_given_up(client, version).await?;
    let slot = take_slot(client, node, slots).await?;
    // Whoever had the slot until now may have given the version up meanwhile.
    if let Err(error) = refuse_given_up(client, version).await {
        release(client, node).await?;
        return Err(error);
    }
    Ok(slot)
}

async fn refuse_given_up(client: &kube::Client, version: Option<&str>) -> Result<(), LockError> {
    let Some(checksum) = version else { return Ok(()) };
    let entry = given_up::find(client, checksum).await?;
    entry.map_or(Ok(()), |entry| Err(LockError::GivenUp { checksum: checksum.to_owned(), entry: Box::new(entry) }))
}

async fn take_slot(client: &kube::Client, node: &str, slots: u32) -> Result<String, LockError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    for _ in 0..TRIES {
        let mut found = read(&maps).await?;
        let mut plan = plan(&found, node, slots);
        if plan == Plan::Full {
            // Those whose holders are no more are free.
            forget_gone(client, &mut found).await?;
            plan = self::plan(&found, node, slots);
        }
        match plan {
            Plan::Mine(name) => return Ok(name),
            Plan::Full => return Err(LockError::Held(held(&found, slots))),
            Plan::Take(slot) => match write(&maps, &slot, Some(node)).await? {
                true => return Ok(slot.name),
                false => continue,
            },
        }
    }
    Err(LockError::Contended)
}

/// Gives back what the node has; whether it had any.
pub async fn release(client: &kube::Client, node: &str) -> Result<bool, LockError> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
    let mut had = false;
    for _ in 0..TRIES {
        let found = read(&maps).await?;
        let Some(slot) = found.into_iter().find(|slot| slot.holder.as_deref() == Some(node)) else { return Ok(had) };
        had |= write(&maps, &slot, None).await?;
    }
    Err(LockError::Contended)
}

async fn read(maps: &Api<ConfigMap>) -> Result<Vec<Slot>, LockError> {
    let list = maps.list(&ListParams::default()).await.map_err(refused("read the reboot lock"))?;
    Ok(list.items.into_iter().filter_map(slot).collect())
}

fn slot(map: ConfigMap) -> Option<Slot> {
    let name = map.metadata.name.filter(|name| name.starts_with(PREFIX))?;
    let holder = map.data.and_then(|mut data| data.remove(HOLDER)).filter(|holder| !holder.is_empty());
    Some(Slot { name, version: map.metadata.resource_version, holder })
}

fn plan(found: &[Slot], node: &str, slots: u32) -> Plan {
    // Also one beyond those that there are: their number may have been lowered.
    if let Some(mine) = found.iter().find(|slot| slot.holder.as_deref() == Some(node)) {
        return Plan::Mine(mine.name.clone());
    }
    let wanted = (0..slots).map(|number| format!("{PREFIX}{number}"));
    let free = wanted
        .map(|name| {
            let there = found.iter().find(|slot| slot.name == name).cloned();
            there.unwrap_or(Slot { name, version: None, holder: None })
        })
        .find(|slot| slot.holder.is_none());
    free.map_or(Plan::Full, Plan::Take)
}

fn held(found: &[Slot], slots: u32) -> Vec<String> {
    let holders = found.iter().filter_map(|slot| Some(format!("{} has {}", slot.holder.as_deref()?, slot.name)));
    let all: Vec<String> = holders.collect();
    if all.is_empty() { vec![format!("there are {slots} slots")] } else { all }
}

/// Clears the holders that are no nodes of the cluster any more.
async fn forget_gone(client: &kube::Client, found: &mut [Slot]) -> Result<(), LockError> {
    let nodes: Api<Node> = Api::all(client.clone());
    for slot in found {
        let Some(holder) = &slot.holder else { continue };
        let there = nodes.get_metadata_opt(holder).await;
        if there.map_err(refused("look for the node that has the reboot lock"))?.is_none() {
            tracing::warn!("{} was held by {holder}, which is no node any more", slot.name);
            slot.holder = None;
        }
    }
    Ok(())
}

/// Writes a slot as it was found with another holder; not when somebody wrote it in between.
async fn write(maps: &Api<ConfigMap>, slot: &Slot, holder: Option<&str>) -> Result<bool, LockError> {
    let data = holder.map(|holder| [(HOLDER.to_owned(), holder.to_owned()), (SINCE.to_owned(), now())]);
    let mut map = ConfigMap { data: data.map(BTreeMap::from), ..ConfigMap::default() };
    map.metadata.name = Some(slot.name.clone());
    map.metadata.resource_version = slot.version.clone();
    let params = PostParams::default();
    let written = match slot.version {
        None => maps.create(&params, &map).await,
        Some(_) => maps.replace(&slot.name, &params, &map).await,
    };
    match written {
        Ok(_) => Ok(true),
        // Made, written or removed by another.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(kube::Error::Api(status)) if status.code == 404 && slot.version.is_some() => Ok(false),
        Err(error) => Err(refused("write the reboot lock")(error)),
    }
}

/// The present moment, RFC 3339.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What an error of the API server is here.
pub(super) fn refused(what: &'static str) -> impl Fn(kube::Error) -> LockError {
    move |error| match error {
        kube::Error::Api(status) if status.code == 403 || status.code == 404 => LockError::Rights(status.message),
        other => LockError::Api { what, message: words(other) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u32, holder: Option<&str>) -> Slot {
        let name = format!("{PREFIX}{number}");
        Slot { name, version: Some("7".into()), holder: holder.map(str::to_owned) }
    }

    #[test]
    fn the_first_free_one_is_taken() {
        let new = Slot { name: "keelson-reboot-0".into(), version: None, holder: None };
        assert_eq!(plan(&[], "one", 1), Plan::Take(new));
        let found = [slot(0, Some("two")), slot(1, None)];
        assert_eq!(plan(&found, "one", 2), Plan::Take(slot(1, None)));
        assert_eq!(plan(&found, "one", 1), Plan::Full);
        assert_eq!(held(&found, 1), ["two has keelson-reboot-0"]);
    }

    #[test]
    fn who_has_one_keeps_it_and_gets_no_other() {
        let found = [slot(0, None), slot(3, Some("one"))];
        assert_eq!(plan(&found, "one", 1), Plan::Mine("keelson-reboot-3".into()));
    }

    #[test]
    fn other_objects_are_no_slots() {
        let map = |name: &str, holder: &str| {
            let map = serde_json::json!({ "metadata": { "name": name }, "data": { "holder": holder } });
            super::slot(serde_json::from_value(map).unwrap())
        };
        assert_eq!(map("kube-root-ca.crt", "x"), None);
        assert_eq!(map("keelson-reboot-0", "").unwrap().holder, None);
        assert_eq!(map("keelson-reboot-0", "two").unwrap().holder.as_deref(), Some("two"));
    }
}
