//! Owns `--volume`: `[SOURCE:]TARGET[:OPTIONS]`.

use std::path::Path;

/// What one `--volume` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// A volume without a name, at this path of the container.
    Anonymous(String),
    /// Something of the host or a named volume, as the API takes it.
    Bind(String),
}

/// Splits `text`; a relative source that begins with a dot is taken below `folder`.
pub fn volume(text: &str, folder: &Path) -> Result<Volume, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let invalid = || format!("invalid spec: {text}: ");
    match parts.as_slice() {
        [] | [""] => Err("invalid empty volume spec".to_owned()),
        [target] => Ok(Volume::Anonymous((*target).to_owned())),
        parts if parts.iter().any(|part| part.is_empty()) => Err(invalid() + "empty section between colons"),
        [source, target] => Ok(Volume::Bind(format!("{}:{target}", absolute(source, folder)))),
        [source, target, options] => Ok(Volume::Bind(format!("{}:{target}:{options}", absolute(source, folder)))),
        _ => Err(invalid() + "too many colons"),
    }
}

fn absolute(source: &str, folder: &Path) -> String {
    match source {
        "." => folder.display().to_string(),
        source if source.starts_with('.') => {
            let joined = folder.join(source);
            normal(&joined)
        }
        source => source.to_owned(),
    }
}

/// Without `.` and `..`, by the text alone.
fn normal(path: &Path) -> String {
    use std::path::{Component, PathBuf};
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let of = |text| volume(text, Path::new("/home/me"));
        let bind = |text: &str| Ok(Volume::Bind(text.to_owned()));
        assert_eq!(of("/data"), Ok(Volume::Anonymous("/data".to_owned())));
        assert_eq!(of("name:/data"), bind("name:/data"));
        assert_eq!(of("/a:/b:ro,Z"), bind("/a:/b:ro,Z"));
        assert_eq!(of("./x/../y:/b"), bind("/home/me/y:/b"));
        assert_eq!(of(".:/b"), bind("/home/me:/b"));
        assert_eq!(of("../x:/b"), bind("/home/x:/b"));
        assert!(of("").is_err() && of(":/b").is_err() && of("a:/b:ro:x").is_err() && of("a:").is_err());
    }
}
