//! Owns termination messages: the file a container can leave one in, and the end of its log where it
//! left none.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodStatus};

use super::error::{At, Problem};

/// As much as a container's file may hold.
const FILE: u64 = 4096;
/// As much as is taken of a log, and of how many of its lines.
const LOG: usize = 2048;
const LINES: usize = 80;
/// Enough of a log's end for either: an entry of it is 16 KiB at most.
const LOG_FILE: u64 = 64 << 10;
/// As much as all containers of a pod can say together.
const POD: usize = 12 << 10;

/// Makes the empty file that is mounted into a container, and forgets the one before the last.
pub fn make(path: &Path, restart: u32) -> Result<(), Problem> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(parent).at("make", parent)?;
        if let Some(old) = restart.checked_sub(2) {
            // The status tells of the last two at most; that it is gone already is fine.
            fs::remove_file(parent.join(old.to_string())).ok();
        }
    }
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o666);
    let file = options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()).open(path).at("make", path)?;
    file.set_permissions(fs::Permissions::from_mode(0o666)).at("set the permissions of", path)
}

/// What an ended container leaves to be told: its file at `path`; where that is empty, the container
/// failed and wants it so, the end of its `log`.
pub fn message(container: &Container, path: &Path, failed: bool, log: &Path) -> String {
    let message = match tail(path, FILE) {
        Ok((content, _)) => String::from_utf8_lossy(&content).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return format!("Error on reading termination log {}: {error}", path.display()),
    };
    let wants_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !message.is_empty() || !failed || !wants_log {
        return message;
    }
    match tail(log, LOG_FILE) {
        Ok((content, whole)) => end_of_log(&content, whole),
        // It never began to run.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => format!("Error on reading termination message from logs: {error}"),
    }
}

/// The last bytes of a file, and whether they are all.
fn tail(path: &Path, most: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(most)))?;
    let mut content = Vec::new();
    file.take(most).read_to_end(&mut content)?;
    Ok((content, size <= most))
}

/// What the last lines of a log in the CRI's format say, not more than [`LOG`] bytes.
fn end_of_log(log: &[u8], whole: bool) -> String {
    let mut lines: Vec<_> = log.split_inclusive(|byte| *byte == b'\n').collect();
    if !whole && !lines.is_empty() {
        lines.remove(0);
    }
    let last = &lines[lines.len().saturating_sub(LINES)..];
    let said: Vec<u8> = last.iter().filter_map(|line| said(line)).flatten().copied().collect();
    String::from_utf8_lossy(&said[said.len().saturating_sub(LOG)..]).into_owned()
}

/// What one entry says: `TIME STREAM TAGS TEXT`, of which the tag `P` means that the line goes on.
fn said(line: &[u8]) -> Option<&[u8]> {
    let mut fields = line.splitn(4, |byte| *byte == b' ');
    let (_time, _stream) = (fields.next()?, fields.next()?);
    let partial = fields.next()?.split(|byte| *byte == b':').next() == Some(b"P");
    let text = fields.next()?;
    Some(if partial { text.strip_suffix(b"\n").unwrap_or(text) } else { text })
}

/// Shortens the messages of a pod's containers to their share of what all can say.
pub fn limit(status: &mut PodStatus, containers: usize) {
    let share = POD / containers.max(1);
    let all =
        [&mut status.init_container_statuses, &mut status.container_statuses, &mut status.ephemeral_container_statuses];
    for status in all.into_iter().flatten().flatten() {
        shorten(status, share);
    }
}

fn shorten(status: &mut ContainerStatus, share: usize) {
    for state in [&mut status.state, &mut status.last_state].into_iter().flatten() {
        let message = state.terminated.as_mut().and_then(|terminated| terminated.message.as_mut());
        if let Some(message) = message {
            message.truncate(message.floor_char_boundary(share));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container(policy: &str) -> Container {
        serde_json::from_value(json!({"name": "c", "terminationMessagePolicy": policy})).unwrap()
    }

    fn line(text: &str) -> String {
        format!("2016-10-06T00:17:09.669794202Z stdout F {text}\n")
    }

    #[test]
    fn the_file_comes_first_and_the_log_only_after_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let (file, log) = (dir.path().join("c/2"), dir.path().join("2.log"));
        make(&file, 2).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o666);
        fs::write(&log, line("DONE")).unwrap();
        let told = |policy, failed| message(&container(policy), &file, failed, &log);
        assert_eq!(told("File", true), "");
        assert_eq!(told("FallbackToLogsOnError", false), "");
        assert_eq!(told("FallbackToLogsOnError", true), "DONE\n");
        fs::write(&file, "OK").unwrap();
        assert_eq!(told("FallbackToLogsOnError", true), "OK");
        assert_eq!(told("File", false), "OK");
        fs::write(&file, "x".repeat(4095) + "yz").unwrap();
        assert_eq!(told("File", false), "x".repeat(4094) + "yz");
        make(&file, 2).unwrap();
        assert_eq!(told("File", true), "");
        fs::remove_file(&log).unwrap();
        assert_eq!(told("FallbackToLogsOnError", true), "");
    }

    #[test]
    fn the_end_of_a_log_is_bounded_by_lines_and_bytes() {
        let log: String = (0..100).map(|n| line(&n.to_string())).collect();
        let end = end_of_log(log.as_bytes(), true);
        assert!(end.starts_with("20\n21\n") && end.ends_with("\n99\n"));
        let long: String = (0..10).map(|_| line(&"z".repeat(999))).collect();
        assert_eq!(end_of_log(long.as_bytes(), true).len(), LOG);
        let cut = end_of_log(&log.as_bytes()[log.len() - 60..], false);
        assert_eq!(cut, "99\n");
        assert_eq!(end_of_log(b"", false), "");
    }

    #[test]
    fn partial_entries_are_joined_and_nonsense_is_skipped() {
        let log = "t stdout P a b\nt stderr P:x c\nnonsense\nt stdout F d\nt stdout F \nt stdout F cut";
        assert_eq!(end_of_log(log.as_bytes(), true), "a bcd\n\ncut");
    }

    #[test]
    fn each_container_has_its_share() {
        let state = |text: String| json!({"terminated": {"exitCode": 1, "message": text}});
        let mut status: PodStatus = serde_json::from_value(json!({"containerStatuses": [
            {"name": "a", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": state("ä".repeat(4000)), "lastState": state("short".into())},
        ]}))
        .unwrap();
        limit(&mut status, 3);
        let first = &status.container_statuses.unwrap()[0];
        let text = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
            state.clone().unwrap().terminated.unwrap().message.unwrap()
        };
        assert_eq!((text(&first.state).len(), text(&first.last_state).as_str()), (4096, "short"));
    }
}
