//! Owns telling others what the volumes of a pod take.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::usage::{self, Usage};
use super::{Volumes, blocking, claims, volumes};

impl Volumes {
    /// What each volume that lies below the root takes. Reads all their folders: not for every second.
    pub async fn usage(&self, pod: &Pod) -> Vec<Usage> {
        let measure = |(volume, claim, path): (Volume, Option<String>, PathBuf)| {
            usage::measure(&path).ok().map(|usage| Usage { name: volume.name, claim, ..usage })
        };
        let places = self.places(pod, |_| true);
        blocking(move || places.into_iter().filter_map(measure).collect()).await.unwrap_or_default()
    }

    /// Why a pod must be evicted: an emptyDir of it takes more than its `sizeLimit`.
    pub async fn over_limit(&self, pod: &Pod) -> Option<String> {
        let places =
            self.places(pod, |volume| volume.empty_dir.as_ref().is_some_and(|source| source.size_limit.is_some()));
        if places.is_empty() {
            return None;
        }
        let excess = |(volume, _, path): (Volume, Option<String>, PathBuf)| {
            usage::excess(&volume, usage::measure(&path).ok()?.used)
        };
        blocking(move || places.into_iter().find_map(excess)).await.ok()?
    }

    fn places(&self, pod: &Pod, wanted: impl Fn(&Volume) -> bool) -> Vec<(Volume, Option<String>, PathBuf)> {
        let Ok(dir) = self.dir(pod) else { return Vec::new() };
        let wanted = volumes(pod).iter().filter(|volume| wanted(volume));
        let place = |volume: &Volume| {
            let path = self.measurable(pod, &dir, volume)?;
            Some((volume.clone(), claims::claim(pod, volume).map(|(claim, _)| claim), path))
        };
        wanted.filter_map(place).collect()
    }
}
