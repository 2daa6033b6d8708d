//! Owns turning one file's [`Raw`] into a checked [`Layer`] and its [`Drops`]; every problem is
//! collected with its place, so that one run shows them all.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use super::include::{Drops, InitramfsState, Layer, UnitState, file_key, package_name};
use super::raw::{Raw, RawDrop, RawFile, RawGroup, RawImage, RawRepository, RawScript, RawUser, RawVersion, Text};
use super::syntax::{self, Checked};
use super::{FileCopy, Group, Image, Repository, Script, User, VersionRule};
use keelson_common::strict::Problem;
use keelson_common::strict::{Site, Sited, Source};

/// What `${...}` stands for.
pub struct Variables<'a> {
    pub arch: &'a str,
    pub name: &'a str,
}

/// Checks one file; its layer holds what was good, `problems` gains what was not.
pub fn validate(source: &Arc<Source>, raw: &Raw, vars: &Variables<'_>, problems: &mut Vec<Problem>) -> (Layer, Drops) {
    let mut file = Validator { source, vars, problems };
    (file.layer(raw), file.drops(&raw.drop))
}

struct Validator<'a> {
    source: &'a Arc<Source>,
    vars: &'a Variables<'a>,
    problems: &'a mut Vec<Problem>,
}

impl Validator<'_> {
    fn layer(&mut self, raw: &Raw) -> Layer {
        let repositories = self.repositories(&raw.repository);
        let layer = Layer {
            name: self.option(&raw.name, syntax::name),
            reference: raw.reference.as_ref().and_then(|text| self.expanded(text, syntax::reference)),
            version: raw.version.as_ref().and_then(|version| self.version(version)),
            recommends: raw.recommends,
            hostname: self.option(&raw.hostname, syntax::hostname).map(|text| text.value),
            update_url: raw.update.as_ref().and_then(|update| self.expanded(&update.url, syntax::url)).map(|u| u.value),
            default_unit: self.option(&raw.units.default, syntax::target).map(|text| text.value),
            local: raw.local.iter().map(|text| self.path(text)).collect(),
            repositories,
            packages: self.expanded_list(&raw.packages, syntax::wanted_package),
            exclude: self.expanded_list(&raw.exclude, syntax::package),
            kargs: self.list(&raw.kargs, syntax::karg),
            files: raw.file.iter().filter_map(|file| self.file(file)).collect(),
            users: raw.user.iter().filter_map(|user| self.user(user)).collect(),
            groups: raw.group.iter().filter_map(|group| self.group(group)).collect(),
            units: self.units(raw),
            os_release: self.os_release(&raw.os_release),
            initramfs: self.initramfs(raw),
            postprocess: raw.postprocess.iter().filter_map(|script| self.script(script)).collect(),
            images: raw.image.iter().filter_map(|image| self.image(image)).collect(),
        };
        self.once(&layer.repositories, "repository", |repository| repository.name.clone());
        self.once(&layer.packages, "package", |text| package_name(text).to_owned());
        self.once(&layer.files, "target", file_key);
        self.once(&layer.images, "image", |image| image.name.clone());
        self.once(&layer.users, "user", |user| user.name.clone());
        self.once(&layer.groups, "group", |group| group.name.clone());
        self.once(&layer.units, "unit", |(unit, _)| unit.clone());
        self.once(&layer.initramfs, "initramfs module", |(name, state)| match state {
            InitramfsState::Driver => format!("{name} (driver)"),
            _ => name.clone(),
        });
        layer
    }

    fn drops(&mut self, raw: &RawDrop) -> Drops {
        let any = |_: &str| Ok(());
        Drops {
            repositories: self.list(&raw.repositories, syntax::word),
            packages: self.expanded_list(&raw.packages, syntax::package),
            exclude: self.expanded_list(&raw.exclude, syntax::package),
            files: self.list(&raw.files, syntax::absolute),
            units: self.list(&raw.units, syntax::unit),
            users: self.list(&raw.users, syntax::account),
            groups: self.list(&raw.groups, syntax::account),
            kargs: self.list(&raw.kargs, any),
            os_release: self.list(&raw.os_release, syntax::os_release_key),
            initramfs: self.list(&raw.initramfs, syntax::module),
            postprocess: self.list(&raw.postprocess, any),
            images: self.images(&raw.images),
        }
    }

    fn site(&self, span: Range<usize>) -> Site {
        Site::new(self.source, span)
    }

    fn report(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.problems.push(self.source.problem(span.start, message));
    }

    /// The text with its place, when `check` finds it good.
    fn text(&mut self, text: &Text, check: impl Fn(&str) -> Checked) -> Option<Sited<String>> {
        match check(text.get_ref()) {
            Ok(()) => Some(Sited { value: text.get_ref().clone(), site: self.site(text.span()) }),
            Err(message) => {
                self.report(text.span(), message);
                None
            }
        }
    }

    fn option(&mut self, text: &Option<Text>, check: impl Fn(&str) -> Checked) -> Option<Sited<String>> {
        text.as_ref().and_then(|text| self.text(text, check))
    }

    fn list(&mut self, texts: &[Text], check: impl Fn(&str) -> Checked) -> Vec<Sited<String>> {
        texts.iter().filter_map(|text| self.text(text, &check)).collect()
    }

    /// As [`Self::text`], after `${...}` was replaced.
    fn expanded(&mut self, text: &Text, check: impl Fn(&str) -> Checked) -> Option<Sited<String>> {
        match syntax::expand(text.get_ref(), self.vars.arch, self.vars.name) {
            Ok(value) => self.text(&Spanned::new(text.span(), value), check),
            Err(message) => {
                self.report(text.span(), message);
                None
            }
        }
    }

    fn expanded_list(&mut self, texts: &[Text], check: impl Fn(&str) -> Checked) -> Vec<Sited<String>> {
        texts.iter().filter_map(|text| self.expanded(text, &check)).collect()
    }

    /// A path of the build machine, relative to the manifest's folder, made absolute.
    fn path(&self, text: &Text) -> Sited<PathBuf> {
        let path = self.source.dir().join(text.get_ref());
        Sited { value: absolute(&path), site: self.site(text.span()) }
    }

    /// A path that must be there now.
    fn existing(&mut self, text: &Text, what: &str) -> Option<PathBuf> {
        let path = self.path(text).value;
        match fs::metadata(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                self.report(text.span(), format!("cannot read the {what} {}: {error}", path.display()));
                None
            }
        }
    }

    /// Reports items of one file that have the same key.
    fn once<T>(&mut self, items: &[Sited<T>], what: &str, key: impl Fn(&T) -> String) {
        let mut seen: BTreeMap<String, &Site> = BTreeMap::new();
        for item in items {
            if let Some(first) = seen.get(&key(&item.value)) {
                let message =
                    format!("the {what} `{}` is in this file twice, first at {}", key(&item.value), first.line());
                self.problems.push(item.site.problem(message));
                continue;
            }
            seen.insert(key(&item.value), &item.site);
        }
    }

    fn version(&mut self, version: &Spanned<RawVersion>) -> Option<VersionRule> {
        let (RawVersion::Fixed(text) | RawVersion::Counter(text)) = version.get_ref();
        self.text(&Spanned::new(version.span(), text.clone()), syntax::version)?;
        Some(match version.get_ref() {
            RawVersion::Fixed(text) => VersionRule::Fixed(text.clone()),
            RawVersion::Counter(prefix) => VersionRule::Counter { prefix: prefix.clone() },
        })
    }

    fn repositories(&mut self, raw: &[Spanned<RawRepository>]) -> Vec<Sited<Repository>> {
        raw.iter().filter_map(|repository| self.repository(repository.get_ref())).collect()
    }

    fn repository(&mut self, raw: &RawRepository) -> Option<Sited<Repository>> {
        let suite = self.text(&raw.suite, syntax::suite)?;
        let name = self.text(raw.name.as_ref().unwrap_or(&raw.suite), syntax::word)?;
        let archive = self.option(&raw.archive, syntax::word);
        let uri = self.option(&raw.uri, syntax::url);
        if let (Some(archive), Some(_)) = (&raw.archive, &raw.uri) {
            self.report(archive.span(), "`archive` is a folder of the Debian mirror: give it or `uri`, not both");
        }
        let components = self.list(&raw.components, syntax::word);
        match (suite.value.ends_with('/'), raw.components.is_empty()) {
            (true, false) => {
                self.report(raw.suite.span(), "a flat repository (its suite ends in `/`) has no components")
            }
            (false, true) => self.report(
                raw.suite.span(),
                "`components` is missing: write [\"main\"], or end the suite in `/` when it is flat",
            ),
            _ => {}
        }
        let key = raw.key.as_ref().map(|key| self.existing(key, "key")).unwrap_or_default();
        let archive = archive.map_or_else(|| "debian".to_owned(), |archive| archive.value);
        let components = components.into_iter().map(|component| component.value).collect();
        let (uri, suite) = (uri.map(|uri| uri.value), suite.value);
        Some(name.map(|name| Repository { name, archive, uri, suite, components, key }))
    }

    fn file(&mut self, raw: &Spanned<RawFile>) -> Option<Sited<FileCopy>> {
        let file = raw.get_ref();
        let target = self.text(&file.target, syntax::in_commit)?;
        let mode = file.mode.as_ref().and_then(|mode| self.mode(mode));
        let mut owner = |owner: &Option<Text>| {
            self.option(owner, syntax::account).map_or_else(|| "root".to_owned(), |owner| owner.value)
        };
        let (user, group) = (owner(&file.user), owner(&file.group));
        let source = match (&file.source, &file.content) {
            (Some(source), None) => Some(self.existing(source, "source")?),
            (None, Some(_)) => None,
            _ => {
                self.report(file.target.span(), "a [[file]] has either `source` or `content`");
                return None;
            }
        };
        let folder = source.as_deref().is_some_and(Path::is_dir);
        if target.value == "/" && !folder {
            self.report(file.target.span(), "only a folder can be copied onto `/`");
            return None;
        }
        let content = file.content.as_ref().map(|text| text.get_ref().clone());
        let copy = FileCopy { source, content, target: target.value.clone(), mode, user, group };
        self.entries(&copy, file.target.span());
        Some(target.map(|_| copy))
    }

    /// Checks where the files below a copied folder go.
    fn entries(&mut self, copy: &FileCopy, span: Range<usize>) {
        match copy.entries() {
            Ok(entries) => {
                let problems = entries.iter().filter_map(|entry| syntax::in_commit(&entry.target).err());
                // One is enough: the rest of a folder has the same reason.
                if let Some(message) = problems.take(1).next() {
                    self.report(span, message);
                }
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
                self.report(span, format!("{error}{cause}"));
            }
        }
    }

    fn mode(&mut self, text: &Text) -> Option<u32> {
        syntax::mode(text.get_ref()).map_err(|message| self.report(text.span(), message)).ok()
    }

    fn user(&mut self, raw: &RawUser) -> Option<Sited<User>> {
        let uid = raw.uid.as_ref().and_then(|uid| self.id(uid));
        let user = User {
            name: raw.name.get_ref().clone(),
            uid,
            group: self.option(&raw.group, syntax::account).map(|text| text.value),
            home: self.option(&raw.home, syntax::absolute).map(|text| text.value),
            shell: self.option(&raw.shell, syntax::absolute).map(|text| text.value),
            groups: self.list(&raw.groups, syntax::account).into_iter().map(|text| text.value).collect(),
        };
        Some(self.text(&raw.name, syntax::account)?.map(|_| user))
    }

    fn group(&mut self, raw: &RawGroup) -> Option<Sited<Group>> {
        let gid = raw.gid.as_ref().and_then(|gid| self.id(gid));
        Some(self.text(&raw.name, syntax::account)?.map(|name| Group { name, gid }))
    }

    fn id(&mut self, id: &Spanned<u32>) -> Option<u32> {
        syntax::id(*id.get_ref()).map_err(|message| self.report(id.span(), message)).ok()?;
        Some(*id.get_ref())
    }

    /// Images by any form of their name.
    fn images(&mut self, texts: &[Text]) -> Vec<Sited<String>> {
        texts.iter().filter_map(|text| self.reference(text)).collect()
    }

    /// An image's whole name.
    fn reference(&mut self, text: &Text) -> Option<Sited<String>> {
        let text = self.expanded(text, syntax::image)?;
        Some(text.map(|text| syntax::whole_image(&text).unwrap_or(text)))
    }

    fn image(&mut self, raw: &Spanned<RawImage>) -> Option<Sited<Image>> {
        let image = raw.get_ref();
        let name = self.reference(&image.name)?;
        if name.value.contains('@') {
            self.report(
                image.name.span(),
                "containers find a baked image by its tag: give that here, and a digest in `from`",
            );
        }
        let from = image.from.as_ref().and_then(|from| self.reference(from)).map(|from| from.value);
        let archive = match (&image.archive, &image.from) {
            (Some(archive), None) => Some(self.existing(archive, "archive")?),
            (Some(archive), Some(_)) => {
                self.report(archive.span(), "an [[image]] is taken `from` a registry or from an `archive`, not both");
                None
            }
            (None, _) => None,
        };
        let site = name.site.line();
        Some(name.map(|name| Image { name, from, archive, site }))
    }

    fn units(&mut self, raw: &Raw) -> Vec<Sited<(String, UnitState)>> {
        let units = &raw.units;
        let lists =
            [(&units.enable, UnitState::Enable), (&units.disable, UnitState::Disable), (&units.mask, UnitState::Mask)];
        self.stated(lists, syntax::unit)
    }

    fn initramfs(&mut self, raw: &Raw) -> Vec<Sited<(String, InitramfsState)>> {
        let initramfs = &raw.initramfs;
        let lists = [
            (&initramfs.omit, InitramfsState::Omit),
            (&initramfs.add, InitramfsState::Add),
            (&initramfs.drivers, InitramfsState::Driver),
        ];
        self.stated(lists, syntax::module)
    }

    fn stated<S: Copy>(&mut self, lists: [(&Vec<Text>, S); 3], check: fn(&str) -> Checked) -> Vec<Sited<(String, S)>> {
        let mut all = Vec::new();
        for (texts, state) in lists {
            all.extend(self.list(texts, check).into_iter().map(|text| text.map(|text| (text, state))));
        }
        all
    }

    fn os_release(&mut self, raw: &BTreeMap<Text, Text>) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        for (key, value) in raw {
            let (key, value) = (self.text(key, syntax::os_release_key), self.text(value, syntax::os_release_value));
            if let (Some(key), Some(value)) = (key, value) {
                fields.insert(key.value, value.value);
            }
        }
        fields
    }

    fn script(&mut self, raw: &Spanned<RawScript>) -> Option<Sited<Script>> {
        let site = self.site(raw.span());
        match (&raw.get_ref().file, &raw.get_ref().script) {
            (None, Some(text)) => {
                let origin = absolute(&self.source.path);
                Some(Sited { value: Script { origin, text: text.get_ref().clone() }, site })
            }
            (Some(file), None) => {
                let origin = self.existing(file, "script")?;
                match fs::read_to_string(&origin) {
                    Ok(text) => Some(Sited { value: Script { origin, text }, site }),
                    Err(error) => {
                        self.report(file.span(), format!("cannot read the script {}: {error}", origin.display()));
                        None
                    }
                }
            }
            _ => {
                self.report(raw.span(), "a postprocess item has either `file` or `script`");
                None
            }
        }
    }
}

/// The path from `/`, with `..` resolved as far as names go.
pub fn absolute(path: &Path) -> PathBuf {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut clean = PathBuf::new();
    for part in full.components() {
        match part {
            std::path::Component::ParentDir => {
                clean.pop();
            }
            part => clean.push(part),
        }
    }
    clean
}
