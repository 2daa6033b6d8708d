//! What Docker's clients draw: a line for each layer, and lines about the whole.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use bollard::models::{CreateImageInfo, ProgressDetail};

/// A layer's line changes no faster than this.
const INTERVAL: Duration = Duration::from_millis(100);

/// Who is told.
pub type Tell<'a> = &'a (dyn Fn(CreateImageInfo) + Send + Sync);

/// A line about the whole.
pub fn line(status: String) -> CreateImageInfo {
    CreateImageInfo { status: Some(status), ..CreateImageInfo::default() }
}

/// A line of one part, usually a layer.
pub fn part(id: &str, status: &str) -> CreateImageInfo {
    CreateImageInfo {
        id: Some(id.to_owned()),
        status: Some(status.to_owned()),
        progress_detail: Some(ProgressDetail::default()),
        error_detail: None,
    }
}

/// A layer as it is called in these lines.
pub fn short(digest: &str) -> &str {
    let digits = digest.split_once(':').map_or(digest, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// The line of one layer.
pub struct Layer<'a> {
    tell: Tell<'a>,
    id: String,
    total: u64,
    last: Mutex<Option<Instant>>,
}

impl<'a> Layer<'a> {
    /// The line of the layer with this digest and size.
    pub fn new(tell: Tell<'a>, digest: &str, total: u64) -> Self {
        Self { tell, id: short(digest).to_owned(), total, last: Mutex::default() }
    }

    /// Says how it stands.
    pub fn say(&self, status: &str) {
        (self.tell)(part(&self.id, status));
    }

    /// Says how much is done, not too often.
    pub fn at(&self, status: &str, current: u64) {
        let now = Instant::now();
        {
            let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if current < self.total && last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
                return;
            }
            *last = Some(now);
        }
        let number = |value: u64| i64::try_from(value).ok();
        let mut info = part(&self.id, status);
        info.progress_detail = Some(ProgressDetail { current: number(current), total: number(self.total) });
        (self.tell)(info);
    }
}

/// The line of a layer that came in an archive, once it is unpacked.
pub fn loading(digest: &str, size: u64) -> CreateImageInfo {
    let size = i64::try_from(size).ok();
    let detail = ProgressDetail { current: size, total: size };
    CreateImageInfo { progress_detail: Some(detail), ..part(short(digest), "Loading layer") }
}

/// The last line of a pull.
pub fn pulled(name: &str, newer: bool) -> CreateImageInfo {
    match newer {
        true => line(format!("Status: Downloaded newer image for {name}")),
        false => line(format!("Status: Image is up to date for {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_dockers() {
        let json = |info: &CreateImageInfo| serde_json::to_string(info).unwrap();
        let digest = "sha256:0123456789abcdef";
        assert_eq!(
            json(&part(short(digest), "Pulling fs layer")),
            r#"{"id":"0123456789ab","status":"Pulling fs layer","progressDetail":{}}"#
        );
        assert_eq!(json(&line("Digest: x".to_owned())), r#"{"status":"Digest: x"}"#);
        assert_eq!(pulled("busybox:latest", true).status.unwrap(), "Status: Downloaded newer image for busybox:latest");
        assert_eq!(pulled("busybox:latest", false).status.unwrap(), "Status: Image is up to date for busybox:latest");
    }

    #[test]
    fn progress_is_told_now_and_then_and_at_the_end() {
        let told = Mutex::new(Vec::new());
        let tell = |info: CreateImageInfo| told.lock().unwrap().push(info.progress_detail.unwrap().current.unwrap());
        let layer = Layer::new(&tell, "sha256:0", 1000);
        (0..=1000).for_each(|current| layer.at("Downloading", current));
        let told = told.into_inner().unwrap();
        assert_eq!((told.first(), told.last()), (Some(&0), Some(&1000)));
        assert!(told.len() < 100);
    }
}
