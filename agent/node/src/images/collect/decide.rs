//! Owns which images go: pure, from what is there, what is used, and for how long.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use super::Policy;
use crate::cri::v1;
use crate::images::reference::Reference;

/// Since when images are known, and when they were last seen in use.
#[derive(Debug, Default)]
pub struct Ages {
    by_id: HashMap<String, Age>,
}

#[derive(Debug, Clone, Copy)]
struct Age {
    known: Instant,
    used: Option<Instant>,
}

/// An image that nobody uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub id: String,
    /// What a person calls it.
    pub name: String,
    pub size: u64,
    known: Instant,
    used: Option<Instant>,
}

/// A disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    pub capacity: u64,
    pub available: u64,
}

impl Disk {
    /// How much of it is used.
    pub fn percent(self) -> u64 {
        let free = u128::from(self.available) * 100 / u128::from(self.capacity.max(1));
        100 - u64::try_from(free).unwrap_or(100).min(100)
    }
}

/// By whatever name a container knows its image.
pub fn names_of(container: &v1::Container) -> Vec<String> {
    let spec = container.image.iter().map(|spec| spec.image.clone());
    spec.chain([container.image_ref.clone(), container.image_id.clone()]).filter(|name| !name.is_empty()).collect()
}

impl Ages {
    /// Takes in what is there now and gives what nobody uses, in the order in which it should go. `used`
    /// are ids, digests and whole names.
    pub fn look(&mut self, images: Vec<v1::Image>, used: &HashSet<String>, now: Instant) -> Vec<Candidate> {
        let present: HashSet<_> = images.iter().map(|image| image.id.clone()).collect();
        self.by_id.retain(|id, _| present.contains(id));
        let mut unused = Vec::new();
        for image in images {
            let age = self.by_id.entry(image.id.clone()).or_insert(Age { known: now, used: None });
            let is_used =
                image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]).any(|name| used.contains(name));
            if is_used {
                age.used = Some(now);
            } else if !image.pinned && !is_pause(&image) {
                let name = image.repo_tags.into_iter().chain(image.repo_digests).next();
                let name = name.unwrap_or_else(|| image.id.clone());
                unused.push(Candidate { id: image.id, name, size: image.size, known: age.known, used: age.used });
            }
        }
        unused.sort_by_key(|image| (image.used, image.known));
        unused
    }
}

/// Sandboxes run it, and are no containers in any list.
fn is_pause(image: &v1::Image) -> bool {
    let repository = |name: &String| Reference::parse(name).is_ok_and(|name| name.repository.ends_with("/pause"));
    image.repo_tags.iter().chain(&image.repo_digests).any(repository)
}

/// Those that go for their age alone, and the others.
pub fn by_age(unused: Vec<Candidate>, policy: &Policy, now: Instant) -> (Vec<Candidate>, Vec<Candidate>) {
    let Some(old) = policy.old else { return (Vec::new(), unused) };
    unused.into_iter().partition(|image| now.duration_since(image.used.unwrap_or(image.known)) > old)
}

/// Those that were not pulled just now.
pub fn old_enough(unused: Vec<Candidate>, policy: &Policy, now: Instant) -> Vec<Candidate> {
    unused.into_iter().filter(|image| now.duration_since(image.known) >= policy.young).collect()
}

/// How many bytes must go, if any.
pub fn excess(disk: Disk, policy: &Policy) -> Option<u64> {
    let free = u128::from(disk.capacity) * u128::from(100 - policy.low.min(100)) / 100;
    let wanted = u64::try_from(free).unwrap_or(u64::MAX).saturating_sub(disk.available);
    (disk.capacity > 0 && disk.percent() >= policy.high && wanted > 0).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn image(id: &str, tag: &str) -> v1::Image {
        v1::Image { id: id.into(), repo_tags: vec![tag.into()], size: 10, ..Default::default() }
    }

    fn used(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn ids(images: &[Candidate]) -> Vec<&str> {
        images.iter().map(|image| image.id.as_str()).collect()
    }

    #[test]
    fn what_is_used_or_pinned_stays() {
        let pinned = v1::Image { pinned: true, ..image("p", "y:1") };
        let pause = image("q", "registry.k8s.io/pause:3.6");
        let images = vec![image("a", "x:1"), image("b", "x:2"), image("c", "x:3"), pinned, pause];
        let unused = Ages::default().look(images, &used(&["a", "x:2"]), Instant::now());
        assert_eq!(ids(&unused), ["c"]);
        assert_eq!(unused[0].name, "x:3");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut ages = Ages::default();
        let now = Instant::now();
        let images = || vec![image("a", "x:1"), image("b", "x:2"), image("c", "x:3")];
        ages.look(images(), &used(&["a", "b"]), now);
        ages.look(images(), &used(&["b"]), now + MINUTE);
        let unused = ages.look(images(), &used(&[]), now + 2 * MINUTE);
        assert_eq!(ids(&unused), ["c", "a", "b"]);
        ages.look(vec![image("a", "x:1")], &used(&[]), now + 3 * MINUTE);
        assert_eq!(ages.by_id.len(), 1);
    }

    #[test]
    fn young_ones_stay_and_old_ones_go() {
        let mut ages = Ages::default();
        let now = Instant::now();
        ages.look(vec![image("a", "x:1")], &used(&[]), now);
        let later = now + 5 * MINUTE;
        let unused = ages.look(vec![image("a", "x:1"), image("b", "x:2")], &used(&[]), later);
        assert_eq!(ids(&old_enough(unused.clone(), &Policy::default(), later)), ["a"]);
        assert_eq!(by_age(unused.clone(), &Policy::default(), later).0, []);
        let policy = Policy { old: Some(MINUTE), ..Policy::default() };
        let (old, rest) = by_age(unused, &policy, later);
        assert_eq!((ids(&old), ids(&rest)), (vec!["a"], vec!["b"]));
    }

    #[test]
    fn only_a_full_disk_needs_room() {
        let disk = |available| Disk { capacity: 1000, available };
        assert_eq!(excess(disk(160), &Policy::default()), None);
        assert_eq!(excess(disk(150), &Policy::default()), Some(50));
        assert_eq!(excess(disk(0), &Policy::default()), Some(200));
        assert_eq!(excess(Disk { capacity: 0, available: 0 }, &Policy::default()), None);
        assert_eq!(disk(150).percent(), 85);
    }

    #[test]
    fn containers_know_their_image_by_several_names() {
        let container = v1::Container {
            image: Some(v1::ImageSpec { image: "x:1".into(), ..Default::default() }),
            image_ref: "sha256:a".into(),
            ..Default::default()
        };
        assert_eq!(names_of(&container), ["x:1", "sha256:a"]);
    }
}
