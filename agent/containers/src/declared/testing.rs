//! What tests of this module share: declarations from a few words.

use keelson_common::strict::Source;

use super::format::parse;
use super::model::{Declaration, Declared, File};

/// The file `NAME.toml`.
pub fn file(name: &str, text: &str) -> File {
    let source = Source { path: format!("/etc/keelson/containers.d/{name}.toml").into(), text: text.into() };
    parse(source, &|_| Err(std::io::ErrorKind::NotFound.into())).unwrap().unwrap()
}

/// One container of a file of its own, with more keys.
pub fn declaration(name: &str, keys: &str) -> Declaration {
    file(name, &format!("[[container]]\nname = '{name}'\nimage = 'img:1'\n{keys}\n")).containers.remove(0)
}

/// Containers, each of a file of its own.
pub fn declared(containers: &[(&str, &str)]) -> Declared {
    let file =
        |(name, keys): &(&str, &str)| file(name, &format!("[[container]]\nname = '{name}'\nimage = 'img:1'\n{keys}\n"));
    Declared { files: containers.iter().map(file).collect(), broken: Vec::new() }
}
