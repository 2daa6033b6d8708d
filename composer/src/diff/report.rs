//! Owns how a difference is printed for a person.

use std::fmt;

use super::{Diff, FileChange, Kind, Side};

impl fmt::Display for Diff {
    /// The two sides, then one section a kind of change, one line a package or file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} -> {}", self.from, self.to)?;
        if self.is_empty() {
            return writeln!(f, "The same packages and the same files.");
        }
        write!(f, "{}", self.packages)?;
        for (title, kind) in
            [("Changed files", Kind::Changed), ("Removed files", Kind::Removed), ("Added files", Kind::Added)]
        {
            section(f, title, self.files.iter().filter(|file| file.change == kind))?;
        }
        Ok(())
    }
}

fn section<'a>(f: &mut fmt::Formatter<'_>, title: &str, files: impl Iterator<Item = &'a FileChange>) -> fmt::Result {
    for (number, file) in files.enumerate() {
        if number == 0 {
            writeln!(f, "{title}:")?;
        }
        match &file.package {
            Some(package) => writeln!(f, "  {} (of {package})", file.path)?,
            None => writeln!(f, "  {}", file.path)?,
        }
    }
    Ok(())
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.checksum.get(..12).unwrap_or(&self.checksum);
        match &self.version {
            Some(version) => write!(f, "{} {version} ({short})", self.revision),
            None => write!(f, "{} ({short})", self.revision),
        }
    }
}
