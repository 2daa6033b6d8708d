//! Owns the networks of groups: made before their first container is started, changed when none of
//! them runs, let go of when no file declares them.

use std::path::PathBuf;

use bollard::models::PortMap;
use serde::{Deserialize, Serialize};

use super::model::{Declared, Group};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::network::{Attachment, Mode, Network, group_id, group_name, ports};
use crate::paths::Paths;

/// What the network of a group was made from; a boot forgets it with the network.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    network: String,
    ports: PortMap,
}

fn file(paths: &Paths, name: &str) -> PathBuf {
    paths.run().join("groups").join(format!("{name}.json"))
}

/// Makes sure that a group has the network that it declares.
pub async fn ensure(group: &Group, network: &Network, engine: &Engine, paths: &Paths) -> Result<()> {
    let id = group_id(&group.name);
    let wanted = Made { network: group.network.clone(), ports: group.ports.clone() };
    let path = file(paths, &group.name);
    let made: Option<Made> = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if network.find(&id).is_some() {
        if made.as_ref() == Some(&wanted) {
            return Ok(());
        }
        if let Some(name) = running(engine, &group.name) {
            return Err(Error::Conflict(format!(
                "the network of the group {} changes once {name}, which runs in it, is replaced",
                group.name
            )));
        }
    }
    let mode = if group.network == "none" { Mode::None } else { Mode::Bridge };
    let ports = ports::requested(&[], Some(&group.ports), false)?;
    network.prepare(&Attachment { id, mode, ports, mac: None, ip: None }).await?;
    let failed = |error: std::io::Error| Error::failed(format_args!("write {}", path.display()), error);
    std::fs::create_dir_all(paths.run().join("groups")).map_err(failed)?;
    let bytes = serde_json::to_vec(&wanted).map_err(|error| failed(error.into()))?;
    std::fs::write(&path, bytes).map_err(failed)
}

/// Lets go of the networks of groups that are declared no more and have no container.
pub async fn sweep(declared: &Declared, network: &Network, engine: &Engine, paths: &Paths) {
    for id in network.attached().into_keys() {
        let Some(name) = group_name(&id) else { continue };
        let known = declared.groups().any(|group| group.name == name)
            || declared.owner_is_broken(&format!("{name}.toml/"))
            || members(engine, name).next().is_some();
        if known {
            continue;
        }
        if let Err(error) = network.release(&id).await {
            tracing::warn!(group = name, "cannot let go of the network of a group: {error}");
        }
        std::fs::remove_file(file(paths, name)).ok();
    }
}

fn running(engine: &Engine, group: &str) -> Option<String> {
    members(engine, group).find(|(_, alive)| *alive).map(|(name, _)| name)
}

/// The containers in the network of a group, and whether each runs.
fn members(engine: &Engine, group: &str) -> impl Iterator<Item = (String, bool)> {
    let mode = format!("group:{group}");
    engine.all().into_iter().filter_map(move |container| {
        let record = container.record();
        let inside = record.host.network_mode.as_deref() == Some(mode.as_str());
        inside.then(|| (record.name.clone(), container.state().status.alive()))
    })
}
