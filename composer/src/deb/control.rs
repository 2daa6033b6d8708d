//! Owns the control stanza of a binary package: the fields that unpacking and ordering need.

use deb822_fast::Deb822;

/// The control data of one binary package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// `Package`.
    pub name: String,
    /// `Version`.
    pub version: String,
    /// `Architecture`.
    pub architecture: String,
    /// Whether `Multi-Arch: same`, which adds the architecture to dpkg's file names.
    pub multi_arch_same: bool,
    /// Whether `Essential: yes`.
    pub essential: bool,
    /// `Pre-Depends` and `Depends`: names only, alternatives in one inner list.
    pub depends: Vec<Vec<String>>,
    /// `Provides`, names only.
    pub provides: Vec<String>,
    /// `Replaces`, names only.
    pub replaces: Vec<String>,
    /// The stanza as it stands in the archive, ending in one newline.
    pub text: String,
}

/// A control stanza that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It is not in deb822 syntax.
    #[error("its control file is malformed: {0}")]
    Syntax(String),
    /// A field every package has is not there.
    #[error("its control file has no field {0}")]
    Missing(&'static str),
}

impl Control {
    /// Parses one stanza.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        let document: Deb822 = text.parse().map_err(|error| ControlError::Syntax(format!("{error}")))?;
        let stanza = document.iter().next().ok_or(ControlError::Missing("Package"))?;
        let field = |name: &'static str| stanza.get(name).map(str::trim);
        let need = |name: &'static str| field(name).map(str::to_owned).ok_or(ControlError::Missing(name));
        let mut depends = relations(field("Pre-Depends").unwrap_or_default());
        depends.extend(relations(field("Depends").unwrap_or_default()));
        let flat = |name| relations(field(name).unwrap_or_default()).into_iter().flatten().collect();
        Ok(Self {
            name: need("Package")?,
            version: need("Version")?,
            architecture: need("Architecture")?,
            multi_arch_same: field("Multi-Arch") == Some("same"),
            essential: field("Essential") == Some("yes"),
            depends,
            provides: flat("Provides"),
            replaces: flat("Replaces"),
            text: format!("{}\n", text.trim_end()),
        })
    }

    /// The name dpkg's own files carry: `libc6:amd64` for a package that can be installed for
    /// several architectures, else the plain name.
    pub fn dpkg_name(&self) -> String {
        match self.multi_arch_same {
            true => format!("{}:{}", self.name, self.architecture),
            false => self.name.clone(),
        }
    }
}

/// The package names of a relationship field, versions and architectures dropped.
fn relations(field: &str) -> Vec<Vec<String>> {
    let name = |text: &str| {
        let end = text.find(|c: char| c.is_whitespace() || "([<:".contains(c)).unwrap_or(text.len());
        text[..end].to_owned()
    };
    field
        .split(',')
        .map(|group| group.split('|').map(str::trim).filter(|text| !text.is_empty()).map(name).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: a\nVersion: 1:2-3\nArchitecture: amd64\nMulti-Arch: same\nPre-Depends: b (>= 1)\n\
                        Depends: c | d:any (<< 2),\n e [linux-any]\nReplaces: old (<< 1)\nDescription: x\n more\n";

    #[test]
    fn reads_names_of_relations() {
        let control = Control::parse(TEXT).unwrap();
        assert_eq!(control.depends, [vec!["b"], vec!["c", "d"], vec!["e"]]);
        assert_eq!(control.replaces, ["old"]);
        assert_eq!(control.dpkg_name(), "a:amd64");
        assert!(!control.essential);
    }

    #[test]
    fn says_which_field_is_missing() {
        let error = Control::parse("Package: a\nVersion: 1\n").unwrap_err();
        assert_eq!(error.to_string(), "its control file has no field Architecture");
    }
}
