//! Owns what is in volumes of files: from objects that were read to the payload that is written. Pure.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Container, KeyToPath, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::atomic::{File, Payload};
use super::error::{Problem, refused};

/// The mode of files where the API was not there to fill in its default.
pub const MODE: i32 = 0o644;

/// One source of a volume as it was read.
#[derive(Debug)]
pub enum Read<'a> {
    /// A config map.
    ConfigMap {
        /// Which of its keys go where; all of them, by their own names, when there is none.
        items: &'a [KeyToPath],
        /// Whether it and its keys may be missing.
        optional: bool,
        /// What was read; nothing where it is missing.
        object: Option<Arc<ConfigMap>>,
    },
    /// A secret.
    Secret {
        /// As above.
        items: &'a [KeyToPath],
        /// As above.
        optional: bool,
        /// As above.
        object: Option<Arc<Secret>>,
    },
    /// What the downward API says: path, mode and text.
    Fields(Vec<(&'a str, Option<i32>, String)>),
    /// A file that only those who run the pod may read, where it is known who that is.
    Private {
        /// Where it goes.
        path: &'a str,
        /// What is in it.
        text: Arc<str>,
    },
}

/// Who gets the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// The user that all containers of the pod run as, if they all run as one.
    pub user: Option<u32>,
    /// `fsGroup`.
    pub group: Option<u32>,
}

impl Owner {
    /// Who gets the files of volumes of this pod.
    pub fn of(pod: &Pod) -> Self {
        let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let group = context.and_then(|context| context.fs_group).and_then(|group| u32::try_from(group).ok());
        Self { user: only_user(pod), group }
    }
}

fn only_user(pod: &Pod) -> Option<u32> {
    let spec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let of = |container: &Container| container.security_context.as_ref().and_then(|context| context.run_as_user);
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers).map(of);
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral =
        ephemeral.map(|container| container.security_context.as_ref().and_then(|context| context.run_as_user));
    let mut users = containers.chain(ephemeral).map(|own| own.or(of_pod));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then(|| u32::try_from(first).ok()).flatten()
}

/// A number that changes when the files do; cheaper than the files.
pub fn fingerprint(reads: &[Read<'_>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for read in reads {
        match read {
            Read::ConfigMap { object, .. } => version(object.as_ref().map(|object| &object.metadata), &mut hasher),
            Read::Secret { object, .. } => version(object.as_ref().map(|object| &object.metadata), &mut hasher),
            Read::Fields(fields) => fields.hash(&mut hasher),
            Read::Private { text, .. } => text.hash(&mut hasher),
        }
    }
    hasher.finish()
}

fn version(meta: Option<&ObjectMeta>, hasher: &mut DefaultHasher) {
    meta.map(|meta| (&meta.uid, &meta.resource_version)).hash(hasher);
}

/// The files of a volume; where sources have a path in common, the last has it.
pub fn payload(reads: &[Read<'_>], default_mode: i32, owner: Owner) -> Result<Payload, Problem> {
    let mut payload = Payload::new();
    let mut problems = Vec::new();
    for read in reads {
        if let Err(problem) = add(read, default_mode, owner, &mut payload) {
            problems.push(problem.to_string());
        }
    }
    joined(problems)?;
    Ok(payload)
}

/// Several problems as one.
pub fn joined(problems: Vec<String>) -> Result<(), Problem> {
    match &problems[..] {
        [] => Ok(()),
        [problem] => refused(problem),
        problems => refused(format!("[{}]", problems.join(", "))),
    }
}

fn add(read: &Read<'_>, default_mode: i32, owner: Owner, payload: &mut Payload) -> Result<(), Problem> {
    let file =
        |content: Vec<u8>, mode: Option<i32>| File { content, mode: bits(mode.unwrap_or(default_mode)), owner: None };
    match read {
        Read::ConfigMap { items, optional, object } => {
            let content = |key: &str| {
                let object = object.as_ref()?;
                let text = object.data.as_ref().and_then(|data| data.get(key)).map(|text| text.as_bytes());
                text.or_else(|| Some(&object.binary_data.as_ref()?.get(key)?.0))
            };
            let object = object.iter();
            let keys = object.flat_map(|object| {
                object
                    .data
                    .iter()
                    .flat_map(|data| data.keys())
                    .chain(object.binary_data.iter().flat_map(|data| data.keys()))
            });
            for (path, mode, key) in chosen(items, keys) {
                match content(key) {
                    Some(content) => drop(payload.insert(path.to_owned(), file(content.to_vec(), mode))),
                    None if *optional => {}
                    None => return refused(format!("configmap references non-existent config key: {key}")),
                }
            }
        }
        Read::Secret { items, optional, object } => {
            let data = object.as_ref().and_then(|object| object.data.as_ref());
            for (path, mode, key) in chosen(items, data.into_iter().flat_map(|data| data.keys())) {
                match data.and_then(|data| data.get(key)) {
                    Some(content) => drop(payload.insert(path.to_owned(), file(content.0.clone(), mode))),
                    None if *optional => {}
                    None => return refused(format!("references non-existent secret key: {key}")),
                }
            }
        }
        Read::Fields(fields) => {
            for (path, mode, text) in fields {
                payload.insert((*path).to_owned(), file(text.clone().into_bytes(), *mode));
            }
        }
        Read::Private { path, text } => {
            // With a group, ownership makes it readable to that.
            let mode = if owner == Owner::default() { default_mode } else { 0o600 };
            let file = File { content: text.as_bytes().to_vec(), mode: bits(mode), owner: owner.user };
            payload.insert((*path).to_owned(), file);
        }
    }
    Ok(())
}

/// Path, mode and key of what is wanted.
fn chosen<'a>(items: &'a [KeyToPath], keys: impl Iterator<Item = &'a String>) -> Vec<(&'a str, Option<i32>, &'a str)> {
    if items.is_empty() {
        return keys.map(|key| (key.as_str(), None, key.as_str())).collect();
    }
    items.iter().map(|item| (item.path.as_str(), item.mode, item.key.as_str())).collect()
}

fn bits(mode: i32) -> u32 {
    mode.cast_unsigned() & 0o7777
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map() -> Option<Arc<ConfigMap>> {
        let map = json!({
            "metadata": {"uid": "u", "resourceVersion": "1"},
            "data": {"a": "1", "b": "2"}, "binaryData": {"c": "AP8="},
        });
        Some(Arc::new(serde_json::from_value(map).unwrap()))
    }

    fn items(items: serde_json::Value) -> Vec<KeyToPath> {
        serde_json::from_value(items).unwrap()
    }

    fn told(read: Read<'_>) -> Result<Payload, String> {
        payload(&[read], MODE, Owner::default()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn all_keys_or_those_chosen_with_their_modes() {
        let all = told(Read::ConfigMap { items: &[], optional: false, object: map() }).unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!((all["c"].content.as_slice(), all["c"].mode), (&[0, 255][..], 0o644));
        let items = items(json!([{"key": "b", "path": "x/y", "mode": 256}]));
        let chosen = told(Read::ConfigMap { items: &items, optional: false, object: map() }).unwrap();
        assert_eq!((chosen.len(), chosen["x/y"].content.as_slice(), chosen["x/y"].mode), (1, &b"2"[..], 0o400));
    }

    #[test]
    fn missing_keys_are_told_unless_optional() {
        let items = items(json!([{"key": "z", "path": "x"}]));
        let map_of = |optional| told(Read::ConfigMap { items: &items, optional, object: map() });
        assert_eq!(map_of(false).unwrap_err(), "configmap references non-existent config key: z");
        assert_eq!(map_of(true).unwrap(), Payload::new());
        let secret = |optional| told(Read::Secret { items: &items, optional, object: None });
        assert_eq!(secret(false).unwrap_err(), "references non-existent secret key: z");
        assert_eq!(secret(true).unwrap(), Payload::new());
        let both = [
            Read::ConfigMap { items: &items, optional: false, object: map() },
            Read::Secret { items: &items, optional: false, object: None },
        ];
        let problem = payload(&both, MODE, Owner::default()).unwrap_err().to_string();
        assert_eq!(problem, "[configmap references non-existent config key: z, references non-existent secret key: z]");
    }

    #[test]
    fn tokens_are_for_those_who_run_the_pod() {
        let token = |owner| {
            let read = Read::Private { path: "token", text: "t".into() };
            payload(&[read], 0o644, owner).unwrap().remove("token").unwrap()
        };
        let (user, group) = (Some(1000), Some(50));
        assert_eq!(token(Owner::default()).mode, 0o644);
        assert_eq!((token(Owner { user, group: None }).mode, token(Owner { user, group: None }).owner), (0o600, user));
        assert_eq!((token(Owner { user: None, group }).mode, token(Owner { user: None, group }).owner), (0o600, None));
    }

    #[test]
    fn files_have_an_owner_only_when_all_containers_run_as_one() {
        let of = |spec| Owner::of(&serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap());
        let runs = |name: &str, user: i64| json!({"name": name, "securityContext": {"runAsUser": user}});
        assert_eq!(of(json!({"containers": [runs("a", 1), runs("b", 1)]})).user, Some(1));
        assert_eq!(of(json!({"containers": [runs("a", 1), runs("b", 2)]})).user, None);
        assert_eq!(of(json!({"containers": [runs("a", 1), {"name": "b"}]})).user, None);
        let inherited = json!({"containers": [{"name": "b"}], "initContainers": [runs("a", 7)],
            "securityContext": {"runAsUser": 7, "fsGroup": 8}});
        assert_eq!(of(inherited), Owner { user: Some(7), group: Some(8) });
    }

    #[test]
    fn the_fingerprint_follows_versions_and_texts() {
        let of_map = |object| fingerprint(&[Read::ConfigMap { items: &[], optional: true, object }]);
        assert_eq!(of_map(map()), of_map(map()));
        assert_ne!(of_map(map()), of_map(None));
        let mut newer = ConfigMap::clone(&map().unwrap());
        newer.metadata.resource_version = Some("2".into());
        assert_ne!(of_map(map()), of_map(Some(Arc::new(newer))));
        let of_text = |text: &str| fingerprint(&[Read::Fields(vec![("a", None, text.into())])]);
        assert_ne!(of_text("1"), of_text("2"));
    }
}
