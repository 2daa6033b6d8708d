//! Owns the last step to a [`Manifest`]: what only the whole can show, such as a package both
//! wanted and excluded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::include::{InitramfsState, Layer, UnitState, package_name};
use super::{Initramfs, Manifest, Units};
use keelson_common::strict::Problem;
use keelson_common::strict::{Sited, Source};

/// Makes the manifest of the merged layers; `None` when something it cannot do without is missing.
pub fn finish(
    layer: Layer,
    source: &Source,
    path: PathBuf,
    architecture: String,
    problems: &mut Vec<Problem>,
) -> Option<Manifest> {
    problems.extend(conflicts(&layer));
    if !problems.is_empty() {
        return None;
    }
    problems.extend(missing(&layer).into_iter().map(|message| source.problem(0, message)));
    let units = units(&layer);
    let initramfs = initramfs(&layer);
    let mut packages = values(layer.packages);
    let mut exclude = values(layer.exclude);
    packages.sort_unstable();
    exclude.sort_unstable();
    exclude.dedup();
    Some(Manifest {
        path,
        name: layer.name?.value,
        reference: layer.reference?.value,
        version: layer.version?,
        architecture,
        repositories: values(layer.repositories),
        local: values(layer.local),
        packages,
        exclude,
        recommends: layer.recommends.unwrap_or(false),
        files: values(layer.files),
        units: Units { default: layer.default_unit, ..units },
        users: values(layer.users),
        groups: values(layer.groups),
        kargs: values(layer.kargs),
        hostname: layer.hostname,
        os_release: layer.os_release,
        initramfs,
        update_url: layer.update_url,
        postprocess: values(layer.postprocess),
        images: values(layer.images),
    })
}

fn values<T>(items: Vec<Sited<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.value).collect()
}

fn missing(layer: &Layer) -> Vec<&'static str> {
    let needed = [
        (layer.name.is_none(), "the key `name` is missing: the product's name, like \"keelson-host\""),
        (
            layer.reference.is_none(),
            "the key `ref` is missing: the OSTree ref to compose to, like \"keelson/host/${arch}\"",
        ),
        (layer.version.is_none(), "the key `version` is missing: a version such as \"13.1\", or { prefix = \"13.\" }"),
        (layer.packages.is_empty(), "the key `packages` is missing: nothing would be installed"),
        (
            layer.repositories.is_empty() && layer.local.is_empty(),
            "there is no [[repository]] and no `local` folder to install from",
        ),
    ];
    needed.into_iter().filter_map(|(gone, message)| gone.then_some(message)).collect()
}

fn conflicts(layer: &Layer) -> Vec<Problem> {
    let mut problems = Vec::new();
    for wanted in &layer.packages {
        let name = package_name(&wanted.value);
        if let Some(excluded) = layer.exclude.iter().find(|excluded| excluded.value == name) {
            problems.push(excluded.site.problem(format!(
                "the package `{name}` is excluded here and wanted at {}: to take it out of an include, write it under [drop] packages",
                wanted.site.line()
            )));
        }
    }
    unknown_suites(layer, &mut problems);
    let uids = layer.users.iter().filter_map(|user| Some((user.value.uid?, user)));
    shared_ids("uid", uids, &mut problems);
    let gids = layer.groups.iter().filter_map(|group| Some((group.value.gid?, group)));
    shared_ids("gid", gids, &mut problems);
    problems
}

/// `name/suite` must name a suite, or a repository, that the manifest has.
fn unknown_suites(layer: &Layer, problems: &mut Vec<Problem>) {
    let suites: Vec<&str> = layer.repositories.iter().map(|repository| repository.value.suite.as_str()).collect();
    for wanted in &layer.packages {
        if let Some((_, suite)) = wanted.value.split_once('/')
            && !suites.contains(&suite)
        {
            let message = format!(
                "`{}`: no [[repository]] has the suite `{suite}`; there are: {}",
                wanted.value,
                suites.join(", ")
            );
            problems.push(wanted.site.problem(message));
        }
    }
}

fn shared_ids<'a, T: 'a>(what: &str, ids: impl Iterator<Item = (u32, &'a Sited<T>)>, problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<u32, &Sited<T>> = BTreeMap::new();
    for (id, item) in ids {
        match seen.get(&id) {
            Some(first) => {
                problems.push(item.site.problem(format!("the {what} {id} is taken already, at {}", first.site.line())));
            }
            None => drop(seen.insert(id, item)),
        }
    }
}

fn units(layer: &Layer) -> Units {
    let of = |wanted: UnitState| {
        let named = layer.units.iter().filter(|unit| unit.value.1 == wanted);
        named.map(|unit| unit.value.0.clone()).collect()
    };
    Units { enable: of(UnitState::Enable), disable: of(UnitState::Disable), mask: of(UnitState::Mask), default: None }
}

fn initramfs(layer: &Layer) -> Initramfs {
    let of = |wanted: InitramfsState| {
        let named = layer.initramfs.iter().filter(|module| module.value.1 == wanted);
        named.map(|module| module.value.0.clone()).collect()
    };
    Initramfs { omit: of(InitramfsState::Omit), add: of(InitramfsState::Add), drivers: of(InitramfsState::Driver) }
}
