//! Owns the way from a path to a [`Manifest`]: read the file and what it includes, check each,
//! lay them over each other, check the whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Manifest;
use super::error::ManifestError;
use super::finish::finish;
use super::include::Layer;
use super::parse::parse;
use super::raw::Raw;
use super::validate::{Variables, absolute, validate};
use keelson_common::strict::Problem;
use keelson_common::strict::Source;

/// A file and what it includes, parsed.
struct Tree {
    source: Arc<Source>,
    raw: Raw,
    includes: Vec<Tree>,
}

/// Reads the manifest at `path` with its includes. Every problem found is in the error; reads
/// files of the build machine that the manifest names, and writes nothing.
pub fn load(path: &Path) -> Result<Manifest, ManifestError> {
    let text = fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })?;
    let source = Arc::new(Source { path: path.to_owned(), text });
    let tree =
        read_tree(source, &mut Vec::new()).map_err(|problem| ManifestError::Invalid { problems: vec![problem] })?;
    let arch = scalar(&tree, |raw| raw.architecture.as_ref()).unwrap_or_else(|| machine().to_owned());
    let name = scalar(&tree, |raw| raw.name.as_ref()).unwrap_or_default();
    let mut problems = Vec::new();
    check_architectures(&tree, &mut problems);
    let layer = flatten(&tree, &Variables { arch: &arch, name: &name }, &mut problems);
    let manifest = finish(layer, &tree.source, absolute(path), arch, &mut problems);
    match manifest {
        Some(manifest) if problems.is_empty() => Ok(manifest),
        _ => Err(ManifestError::Invalid { problems }),
    }
}

fn read_tree(source: Arc<Source>, above: &mut Vec<PathBuf>) -> Result<Tree, Problem> {
    let raw = parse(&source)?;
    above.push(identity(&source.path));
    let mut includes = Vec::new();
    for include in &raw.include {
        let path = source.dir().join(include.get_ref());
        let problem = |message: String| source.problem(include.span().start, message);
        if above.contains(&identity(&path)) {
            return Err(problem(format!("{} includes itself by way of this file", path.display())));
        }
        let text =
            fs::read_to_string(&path).map_err(|error| problem(format!("cannot read {}: {error}", path.display())))?;
        includes.push(read_tree(Arc::new(Source { path, text }), above)?);
    }
    above.pop();
    Ok(Tree { source, raw, includes })
}

fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| absolute(path))
}

/// A scalar as overriding gives it: the file's own, else that of the last include having one.
fn scalar<'a>(tree: &'a Tree, pick: fn(&'a Raw) -> Option<&'a super::raw::Text>) -> Option<String> {
    let own = pick(&tree.raw).map(|text| text.get_ref().clone());
    own.or_else(|| tree.includes.iter().rev().find_map(|include| scalar(include, pick)))
}

fn check_architectures(tree: &Tree, problems: &mut Vec<Problem>) {
    if let Some(text) = &tree.raw.architecture
        && let Err(message) = super::syntax::architecture(text.get_ref())
    {
        problems.push(tree.source.problem(text.span().start, message));
    }
    tree.includes.iter().for_each(|include| check_architectures(include, problems));
}

fn flatten(tree: &Tree, vars: &Variables<'_>, problems: &mut Vec<Problem>) -> Layer {
    let below = tree.includes.iter().map(|include| flatten(include, vars, problems)).reduce(Layer::overlay);
    let mut below = below.unwrap_or_default();
    let (own, drops) = validate(&tree.source, &tree.raw, vars, problems);
    problems.extend(below.drop_from(&drops));
    below.overlay(own)
}

/// The build machine's architecture in Debian's terms.
fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "x86" => "i386",
        "loongarch64" => "loong64",
        "powerpc64" => "ppc64el",
        other => other,
    }
}
