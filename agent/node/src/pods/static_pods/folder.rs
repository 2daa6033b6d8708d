//! Owns reading the folder: which files count, which changed, and what stays when one breaks.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{StaticPods, manifest};
use crate::events::{Kind, Recorder};

/// As large as a file may be; the API takes no larger pod either.
const LARGEST: u64 = 3 << 20;

/// The folder as it was read last.
pub(super) struct Folder {
    path: PathBuf,
    node: String,
    events: Recorder,
    files: BTreeMap<OsString, File>,
}

struct File {
    stamp: Stamp,
    pod: Option<Arc<Pod>>,
}

/// What changes with a file.
#[derive(PartialEq, Eq, Clone, Copy)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Folder {
    /// A folder that was not read yet, of the node of that name.
    pub(super) fn new(path: PathBuf, node: String, events: Recorder) -> Self {
        Self { path, node, events, files: BTreeMap::new() }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The pods of the folder as it is now. Only files that changed are read.
    pub(super) fn scan(&mut self) -> StaticPods {
        match self.stamps() {
            Ok(stamps) => {
                self.files.retain(|name, _| stamps.contains_key(name));
                for (name, stamp) in stamps {
                    self.look(name, stamp);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.files.clear(),
            Err(error) => tracing::warn!(path = %self.path.display(), "cannot read static pods: {error}"),
        }
        self.pods()
    }

    fn look(&mut self, name: OsString, stamp: Stamp) {
        if self.files.get(&name).is_some_and(|file| file.stamp == stamp) {
            return;
        }
        let path = self.path.join(&name);
        let former = self.files.get(&name).and_then(|file| file.pod.clone());
        let pod = match read(&path).and_then(|text| manifest::parse(&text, &path, &self.node).map_err(|e| chained(&e)))
        {
            // The same pod in other words is the same pod, seen when it was seen first.
            Ok(pod) => match former {
                Some(former) if former.metadata.uid == pod.metadata.uid => Some(former),
                _ => Some(Arc::new(pod)),
            },
            Err(why) => {
                self.complain(format!("Static pod {}: {why}", path.display()));
                former
            }
        };
        self.files.insert(name, File { stamp, pod });
    }

    fn complain(&self, message: String) {
        tracing::warn!("{message}");
        let metadata = ObjectMeta { name: Some(self.node.clone()), ..Default::default() };
        self.events.node(&Node { metadata, ..Default::default() }, Kind::Warning, "FailedStaticPod", message);
    }

    /// All pods; of two of one name that of the first file.
    fn pods(&self) -> StaticPods {
        let mut names = BTreeMap::new();
        let mut pods = StaticPods::new();
        for (file, pod) in self.files.iter().filter_map(|(file, known)| Some((file, known.pod.as_ref()?))) {
            let name = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
            if let Some(first) = names.get(&name) {
                tracing::warn!(?file, ?first, "both files describe a pod of one name; the first one counts");
                continue;
            }
            names.insert(name, file);
            pods.insert(pod.metadata.uid.clone().unwrap_or_default(), pod.clone());
        }
        pods
    }

    /// The files that count: not hidden ones, backups of editors, folders.
    fn stamps(&self) -> io::Result<BTreeMap<OsString, Stamp>> {
        let mut stamps = BTreeMap::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let text = name.to_string_lossy();
            if text.starts_with('.') || text.ends_with('~') {
                continue;
            }
            // By the link's target: manifests are often links.
            match std::fs::metadata(self.path.join(&name)) {
                Ok(metadata) if metadata.is_file() => {
                    let modified = (metadata.mtime(), metadata.mtime_nsec());
                    stamps.insert(name, Stamp { inode: metadata.ino(), size: metadata.size(), modified });
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(file = %text, "cannot look at a static pod: {error}"),
            }
        }
        Ok(stamps)
    }
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > LARGEST { Err(format!("larger than {} MiB", LARGEST >> 20)) } else { Ok(text) }
}

fn chained(error: &manifest::ManifestError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, image: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: {image}}}]}}\n"
        )
    }

    fn names(pods: &StaticPods) -> Vec<(String, String)> {
        let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap();
        let mut names: Vec<_> = pods.values().map(|pod| (pod.metadata.name.clone().unwrap(), image(pod))).collect();
        names.sort();
        names
    }

    fn named(names: &[(&str, &str)]) -> Vec<(String, String)> {
        names.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect()
    }

    #[test]
    fn a_broken_file_keeps_its_pod_and_harms_no_other() {
        let temporary = tempfile::tempdir().unwrap();
        let (events, mut records) = Recorder::new();
        let mut folder = Folder::new(temporary.path().into(), "n".into(), events);
        let write = |file: &str, text: String| std::fs::write(temporary.path().join(file), text).unwrap();
        write("a.yaml", text("a", "one"));
        write("b.yaml", text("b", "one"));
        write("c.yaml", "kind: Pod".into());
        write("b.yaml~", text("d", "one"));
        assert_eq!(names(&folder.scan()), named(&[("a-n", "one"), ("b-n", "one")]));
        assert_eq!(records.try_recv().unwrap().reason, "FailedStaticPod");
        write("a.yaml", "{nonsense".into());
        write("b.yaml", text("b", "second"));
        assert_eq!(names(&folder.scan()), named(&[("a-n", "one"), ("b-n", "second")]));
        assert!(records.try_recv().unwrap().message.contains("a.yaml"));
        // It is told once.
        folder.scan();
        assert!(records.try_recv().is_err());
        write("a.yaml", text("a", "third"));
        std::fs::remove_file(temporary.path().join("b.yaml")).unwrap();
        assert_eq!(names(&folder.scan()), named(&[("a-n", "third")]));
    }

    #[test]
    fn of_two_of_one_name_the_first_counts() {
        let temporary = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(temporary.path().into(), "n".into(), Recorder::new().0);
        std::fs::write(temporary.path().join("2.yaml"), text("a", "second")).unwrap();
        std::fs::write(temporary.path().join("1.yaml"), text("a", "first")).unwrap();
        assert_eq!(names(&folder.scan()), named(&[("a-n", "first")]));
    }

    #[test]
    fn other_words_are_no_other_pod() {
        let temporary = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(temporary.path().into(), "n".into(), Recorder::new().0);
        std::fs::write(temporary.path().join("1.yaml"), text("a", "first")).unwrap();
        let before = folder.scan();
        std::fs::write(temporary.path().join("1.yaml"), format!("# A comment\n{}", text("a", "first"))).unwrap();
        assert_eq!(folder.scan(), before);
    }
}
