//! Lints on the kernel, its initramfs and its arguments.

use std::collections::BTreeSet;

use super::{Context, Problems, Tree, problem};

/// Bytes that kernel and initramfs may take: `/boot` holds three pairs while an upgrade is staged.
const BOOT_LIMIT: u64 = 150 << 20;

/// Arguments that libostree or the image sets, by name.
const SET_ELSEWHERE: [&str; 4] = ["BOOT_IMAGE", "initrd", "ostree", "root"];

/// Versions that have a kernel.
fn kernels(tree: &Tree) -> Vec<&str> {
    let versions = tree.children("usr/lib/modules").into_iter().map(|(version, _)| version);
    versions.filter(|version| tree.get(&format!("usr/lib/modules/{version}/vmlinuz")).is_some()).collect()
}

pub(super) fn kernel(tree: &Tree, _: &Context) -> Problems {
    let versions = kernels(tree);
    let mut problems = Vec::new();
    if versions.len() > 1 {
        problems
            .push(problem("usr/lib/modules", format!("there are {} kernels: {}", versions.len(), versions.join(", "))));
    }
    for version in versions {
        let path = format!("usr/lib/modules/{version}/initramfs.img");
        if tree.get(&path).is_none_or(|entry| entry.size == 0) {
            problems.push(problem(&path, "the kernel has no initramfs"));
        }
    }
    Ok(problems)
}

pub(super) fn no_kernel(tree: &Tree, _: &Context) -> Problems {
    let none = kernels(tree).is_empty();
    Ok(none.then(|| problem("usr/lib/modules", "there is no kernel: the tree cannot boot")).into_iter().collect())
}

pub(super) fn boot_size(tree: &Tree, _: &Context) -> Problems {
    let mut problems = Vec::new();
    for version in kernels(tree) {
        let folder = format!("usr/lib/modules/{version}");
        let size = |name: &str| tree.get(&format!("{folder}/{name}")).map_or(0, |entry| entry.size);
        let total = size("vmlinuz") + size("initramfs.img");
        if total > BOOT_LIMIT {
            let mib = |bytes: u64| bytes >> 20;
            let message = format!("kernel and initramfs have {} MiB, of {} at most", mib(total), mib(BOOT_LIMIT));
            problems.push(problem(&folder, message));
        }
    }
    Ok(problems)
}

pub(super) fn kargs(_: &Tree, context: &Context) -> Problems {
    let (mut seen, mut problems) = (BTreeSet::new(), Vec::new());
    for argument in context.kargs {
        let name = argument.split('=').next().unwrap_or_default();
        if name.is_empty() || argument.chars().any(|c| c.is_whitespace() || c.is_control()) {
            problems.push(problem("", format!("the kernel argument `{argument}` is no single word")));
        } else if SET_ELSEWHERE.contains(&name) {
            problems.push(problem("", format!("the kernel argument `{argument}` is for the image to set")));
        } else if !seen.insert(argument) {
            problems.push(problem("", format!("the kernel argument `{argument}` is there twice")));
        }
    }
    Ok(problems)
}
