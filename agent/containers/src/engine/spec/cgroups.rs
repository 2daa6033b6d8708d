//! Decides where the cgroup of a container is.

use std::path::PathBuf;

/// Where cgroups of containers are, and who makes them.
#[derive(Debug, Clone)]
pub struct Cgroups {
    slice: String,
    systemd: bool,
}

impl Cgroups {
    /// Below `slice`; made by systemd where it is the manager of the host.
    pub fn new(slice: &str, systemd: bool) -> Self {
        Self { slice: slice.to_owned(), systemd }
    }

    /// Does systemd make them?
    pub fn systemd(&self) -> bool {
        self.systemd
    }

    /// The cgroup of container `id` as the runtime takes it; below `parent` when one is asked for.
    pub fn of(&self, id: &str, parent: Option<&str>) -> PathBuf {
        let parent = parent.filter(|parent| !parent.is_empty()).unwrap_or(&self.slice);
        if self.systemd {
            return PathBuf::from(format!("{parent}:keelson:{id}"));
        }
        let parent = parent.strip_suffix(".slice").unwrap_or(parent).trim_matches('/');
        PathBuf::from(format!("/{parent}/{id}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_systemd_and_without() {
        let path = |systemd, parent| Cgroups::new("keelson.slice", systemd).of("1f", parent);
        assert_eq!(path(true, None), PathBuf::from("keelson.slice:keelson:1f"));
        assert_eq!(path(true, Some("web.slice")), PathBuf::from("web.slice:keelson:1f"));
        assert_eq!(path(false, None), PathBuf::from("/keelson/1f"));
        assert_eq!(path(false, Some("/web")), PathBuf::from("/web/1f"));
    }
}
