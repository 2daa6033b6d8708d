//! Owns where keelctl takes credentials from: the user's own files.

use std::path::PathBuf;

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use keelson_containers::images::auth::{AuthFile, file_to_write, files, lookup};

/// The header with the credentials for the registry of `image`; none where there are none.
pub fn header(image: &str) -> anyhow::Result<Option<String>> {
    let Some(credentials) = lookup(&files(variable), image)? else { return Ok(None) };
    Ok(Some(URL_SAFE.encode(serde_json::to_vec(&credentials.docker())?)))
}

/// The header that says that there are no credentials.
pub fn nobody() -> String {
    URL_SAFE.encode("{}")
}

/// Keeps credentials.
pub fn store(registry: &str, name: &str, password: &str) -> anyhow::Result<()> {
    let path = file_to_write(variable);
    let mut file = AuthFile::read(&path)?.unwrap_or_default();
    file.set(registry, name, password);
    file.write(&path).with_context(|| format!("the credentials for {registry} were not kept"))
}

/// Forgets credentials in every file that has them; whether any had.
pub fn forget(registry: &str) -> anyhow::Result<bool> {
    let mut known = false;
    for path in files(variable) {
        if let Some(mut file) = AuthFile::read(&path)?
            && file.remove(registry)
        {
            file.write(&path)?;
            known = true;
        }
    }
    Ok(known)
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}
