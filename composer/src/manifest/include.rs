//! Owns layers: one file's validated content ([`Layer`]), laying one over another (`include`), and
//! taking things out of what lies below (`[drop]`).
//!
//! Lists add up; an item of the same key (a package's name, a file's target, a unit, an account)
//! and every scalar is the upper layer's. Folders to copy always add up. Of two included files the later one is the upper.

use std::collections::BTreeMap;

use super::{FileCopy, Group, Image, Repository, Script, User, VersionRule};
use keelson_common::strict::Problem;
use keelson_common::strict::Sited;
use keelson_common::strict::nearest;

/// What is done to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitState {
    Enable,
    Disable,
    Mask,
}

/// What is done to a dracut module or a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitramfsState {
    Omit,
    Add,
    Driver,
}

/// The content of one file, or of several laid over each other.
#[derive(Debug, Default)]
pub struct Layer {
    pub name: Option<Sited<String>>,
    pub reference: Option<Sited<String>>,
    pub version: Option<VersionRule>,
    pub recommends: Option<bool>,
    pub hostname: Option<String>,
    pub update_url: Option<String>,
    pub default_unit: Option<String>,
    pub local: Vec<Sited<std::path::PathBuf>>,
    pub repositories: Vec<Sited<Repository>>,
    pub packages: Vec<Sited<String>>,
    pub exclude: Vec<Sited<String>>,
    pub kargs: Vec<Sited<String>>,
    pub files: Vec<Sited<FileCopy>>,
    pub users: Vec<Sited<User>>,
    pub groups: Vec<Sited<Group>>,
    pub units: Vec<Sited<(String, UnitState)>>,
    pub os_release: BTreeMap<String, String>,
    pub initramfs: Vec<Sited<(String, InitramfsState)>>,
    pub postprocess: Vec<Sited<Script>>,
    pub images: Vec<Sited<Image>>,
}

impl Layer {
    /// Lays `upper` over this layer.
    pub fn overlay(mut self, upper: Layer) -> Layer {
        self.os_release.extend(upper.os_release);
        Layer {
            name: upper.name.or(self.name),
            reference: upper.reference.or(self.reference),
            version: upper.version.or(self.version),
            recommends: upper.recommends.or(self.recommends),
            hostname: upper.hostname.or(self.hostname),
            update_url: upper.update_url.or(self.update_url),
            default_unit: upper.default_unit.or(self.default_unit),
            local: merge(self.local, upper.local, |path| path.clone()),
            repositories: merge(self.repositories, upper.repositories, |repository| repository.name.clone()),
            packages: merge(self.packages, upper.packages, |text| package_name(text).to_owned()),
            exclude: merge(self.exclude, upper.exclude, String::clone),
            kargs: merge(self.kargs, upper.kargs, String::clone),
            files: merge(self.files, upper.files, file_key),
            users: merge(self.users, upper.users, |user| user.name.clone()),
            groups: merge(self.groups, upper.groups, |group| group.name.clone()),
            units: merge(self.units, upper.units, |(unit, _)| unit.clone()),
            os_release: self.os_release,
            initramfs: merge(self.initramfs, upper.initramfs, |(name, state)| {
                (name.clone(), *state == InitramfsState::Driver)
            }),
            postprocess: merge(self.postprocess, upper.postprocess, Script::clone),
            images: merge(self.images, upper.images, |image| image.name.clone()),
        }
    }

    /// Takes out what `drops` names; a name that nothing here has is a problem.
    pub fn drop_from(&mut self, drops: &Drops) -> Vec<Problem> {
        let mut problems = Vec::new();
        let p = &mut problems;
        take(&mut self.repositories, &drops.repositories, "repository", |item| item.name.clone(), p);
        take(&mut self.packages, &drops.packages, "package", |item| package_name(item).to_owned(), p);
        take(&mut self.exclude, &drops.exclude, "excluded package", String::clone, p);
        take(&mut self.files, &drops.files, "file", |item| item.target.clone(), p);
        take(&mut self.units, &drops.units, "unit", |item| item.0.clone(), p);
        take(&mut self.users, &drops.users, "user", |item| item.name.clone(), p);
        take(&mut self.groups, &drops.groups, "group", |item| item.name.clone(), p);
        take(&mut self.kargs, &drops.kargs, "kernel argument", String::clone, p);
        take(&mut self.initramfs, &drops.initramfs, "dracut module or driver", |item| item.0.clone(), p);
        take(&mut self.images, &drops.images, "image", |item| item.name.clone(), p);
        take(&mut self.postprocess, &drops.postprocess, "postprocess file", script_name, p);
        let fields: Vec<String> = self.os_release.keys().cloned().collect();
        for dropped in &drops.os_release {
            if self.os_release.remove(&dropped.value).is_none() {
                p.push(nothing_dropped(dropped, "os-release field", &fields));
            }
        }
        problems
    }
}

/// What a file drops of its includes, by the names the lists go by.
#[derive(Debug, Default)]
pub struct Drops {
    pub repositories: Vec<Sited<String>>,
    pub packages: Vec<Sited<String>>,
    pub exclude: Vec<Sited<String>>,
    pub files: Vec<Sited<String>>,
    pub units: Vec<Sited<String>>,
    pub users: Vec<Sited<String>>,
    pub groups: Vec<Sited<String>>,
    pub kargs: Vec<Sited<String>>,
    pub os_release: Vec<Sited<String>>,
    pub initramfs: Vec<Sited<String>>,
    pub postprocess: Vec<Sited<String>>,
    pub images: Vec<Sited<String>>,
}

/// `containerd` of `containerd=1.7` or `containerd/trixie-backports`.
pub fn package_name(text: &str) -> &str {
    text.split(['=', '/']).next().unwrap_or(text)
}

/// A file takes the place of the one with its target; folders add up, whatever they are copied to.
pub fn file_key(file: &FileCopy) -> String {
    match &file.source {
        Some(folder) if folder.is_dir() => format!("{} (from {})", file.target, folder.display()),
        _ => file.target.clone(),
    }
}

fn script_name(script: &Script) -> String {
    script.origin.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// An item of `upper` takes the place of the one with its key, or comes last.
fn merge<T, K: PartialEq>(lower: Vec<Sited<T>>, upper: Vec<Sited<T>>, key: impl Fn(&T) -> K) -> Vec<Sited<T>> {
    let mut all = lower;
    for item in upper {
        match all.iter_mut().find(|existing| key(&existing.value) == key(&item.value)) {
            Some(existing) => *existing = item,
            None => all.push(item),
        }
    }
    all
}

fn take<T>(
    list: &mut Vec<Sited<T>>,
    drops: &[Sited<String>],
    what: &str,
    key: impl Fn(&T) -> String,
    problems: &mut Vec<Problem>,
) {
    let present: Vec<String> = list.iter().map(|item| key(&item.value)).collect();
    for dropped in drops.iter().filter(|dropped| !present.contains(&dropped.value)) {
        problems.push(nothing_dropped(dropped, what, &present));
    }
    list.retain(|item| !drops.iter().any(|dropped| dropped.value == key(&item.value)));
}

fn nothing_dropped(dropped: &Sited<String>, what: &str, present: &[String]) -> Problem {
    let name = &dropped.value;
    let candidates: Vec<&str> = present.iter().map(String::as_str).collect();
    let near = nearest(name, &candidates).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    dropped.site.problem(format!("the includes bring in no {what} `{name}` to drop{near}"))
}
