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

use keelson_common::strict::{Problem, Source};

use super::model::File;

/// Reads the files that a declaration names.
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// Reads one file's text; `None` when it declares nothing at all.
pub fn parse(source: Source, read: Read<'_>) -> Result<Option<File>, Vec<Problem>> {
    let raw: raw::Raw = keelson_common::strict::parse(&source, &raw::TOP).map_err(|problem| vec![problem])?;
    if raw.group.is_none() && raw.container.is_empty() {
        return Ok(None);
    }
    validate::validate(&source, &raw, read).map(Some)
}
