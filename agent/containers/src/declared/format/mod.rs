//! The files that declare containers: text -> `raw` -> (`validate`) -> [`super::model::File`].

mod body;
mod env_file;
mod raw;
#[cfg(test)]
mod tests;
mod validate;
pub mod window;

use std::io;
use std::path::Path;

use keelson_common::strict::{self, Problem, Source};

use super::model::File;

/// Reads the files that a declaration names.
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Reads one file's text; `None` when it declares nothing at all.
pub fn parse(source: Source, read: Read<'_>) -> Result<Option<File>, Vec<Problem>> {
    file(&source, strict::parse(&source, &raw::TOP), read)
}

/// As [`parse`], where others see the problems than those who may see the values: none of a wrong kind is told.
pub fn parse_secret(source: Source, read: Read<'_>) -> Result<Option<File>, Vec<Problem>> {
    file(&source, strict::parse_secret(&source, &raw::TOP), read)
}

fn file(source: &Source, raw: Result<raw::Raw, Problem>, read: Read<'_>) -> Result<Option<File>, Vec<Problem>> {
    let raw = raw.map_err(|problem| vec![problem])?;
    if raw.group.is_none() && raw.container.is_empty() {
        return Ok(None);
    }
    validate::validate(source, &raw, read).map(Some)
}
