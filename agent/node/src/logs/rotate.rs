//! Owns keeping logs small: one that has grown is moved aside, containerd opens it anew, older ones are
//! compressed and the oldest go. Names are the kubelet's: `0.log.20240131-154500`, then `….gz`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::context::Context;
use crate::cri::v1::{ContainerState, ReopenContainerLogRequest};

/// How often logs are looked at: one `stat` each.
const EVERY: Duration = Duration::from_secs(30);
/// From which size a log is moved aside.
pub(crate) const MAX_SIZE: u64 = 10 << 20;
/// How many files a log has at most.
pub(crate) const MAX_FILES: usize = 5;

/// Looks after the logs of all running containers, for as long as the node runs.
pub async fn run(context: Arc<Context>) {
    let mut clock = tokio::time::interval(EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        for pod in context.pods.list() {
            let running = pod.containers.iter().filter(|found| found.state == ContainerState::ContainerRunning);
            for container in running {
                look(&context, &container.id, &container.log).await;
            }
        }
    }
}

/// Looks at one log.
async fn look(context: &Context, id: &str, log: &Path) {
    let reopen = async || {
        let request = ReopenContainerLogRequest { container_id: id.to_owned() };
        context.cri.reopen_container_log(request).await
    };
    match fs::metadata(log) {
        Ok(meta) if meta.len() < MAX_SIZE => return,
        // Somebody took it away, and containerd writes to what nobody sees.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Err(error) = reopen().await {
                tracing::warn!(log = %log.display(), %error, "cannot have a log opened anew");
            }
            return;
        }
        Err(error) => return tracing::warn!(log = %log.display(), %error, "cannot look at a log"),
        Ok(_) => {}
    }
    let path = log.to_owned();
    let aside = tokio::task::spawn_blocking(move || {
        make_room(&path)?;
        let aside = aside(&path, jiff::Timestamp::now());
        fs::rename(&path, &aside).map(|()| aside)
    });
    let aside = match aside.await.map_err(io::Error::other).flatten() {
        Ok(aside) => aside,
        Err(error) => return tracing::warn!(log = %log.display(), %error, "cannot move a log aside"),
    };
    if let Err(error) = reopen().await {
        tracing::warn!(log = %log.display(), %error, "cannot have a log opened anew");
        // containerd goes on writing to it: let it be found.
        let _ = fs::rename(aside, log);
    }
}

/// The name that a log is moved aside to.
fn aside(log: &Path, now: jiff::Timestamp) -> PathBuf {
    let time = now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string();
    with_suffix(log, &time)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// What to do with the files beside a log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    remove: Vec<String>,
    compress: Vec<String>,
}

/// Of the files beside a log: which go, because they are half made or because there would be too many, and
/// which are to be compressed. Their names sort by age.
fn plan(mut files: Vec<String>, max_files: usize) -> Plan {
    files.sort();
    let half = |file: &String| file.ends_with(".tmp") || files.contains(&format!("{file}.gz"));
    let (mut remove, kept): (Vec<_>, Vec<_>) = files.iter().cloned().partition(half);
    // The log itself and the one that is moved aside now come to them.
    let excess = kept.len().saturating_sub(max_files.saturating_sub(2));
    remove.extend_from_slice(&kept[..excess]);
    let compress = kept[excess..].iter().filter(|file| !file.ends_with(".gz")).cloned().collect();
    Plan { remove, compress }
}

/// The names of what was moved aside of a log: they begin with its own.
fn beside(log: &Path) -> io::Result<Vec<String>> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let entries = fs::read_dir(folder)?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    Ok(entries.filter(|entry| entry.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))).collect())
}

/// Makes room beside a log for one more.
fn make_room(log: &Path) -> io::Result<()> {
    let plan = plan(beside(log)?, MAX_FILES);
    for file in plan.remove {
        fs::remove_file(log.with_file_name(file))?;
    }
    plan.compress.iter().try_for_each(|file| compress(&log.with_file_name(file)))
}

/// Removes a log with all that was moved aside of it, for a container that is no more.
pub async fn remove(log: PathBuf) {
    let path = log.clone();
    let removed = tokio::task::spawn_blocking(move || remove_all(&path));
    if let Err(error) = removed.await.map_err(io::Error::other).flatten() {
        tracing::warn!(log = %log.display(), %error, "cannot remove a log");
    }
}

fn remove_all(log: &Path) -> io::Result<()> {
    let aside = match beside(log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        aside => aside?,
    };
    let mut files = aside.into_iter().map(|file| log.with_file_name(file)).chain([log.to_owned()]);
    files.try_for_each(|file| match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

fn compress(path: &Path) -> io::Result<()> {
    let (tmp, gz) = (with_suffix(path, "tmp"), with_suffix(path, "gz"));
    let mut source = File::open(path)?;
    let target = File::create(&tmp)?;
    target.set_permissions(source.metadata()?.permissions())?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    io::copy(&mut source, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&tmp, &gz)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_oldest_go_and_the_others_are_compressed() {
        let files = names(&["0.log.4", "0.log.1.gz", "0.log.2.gz", "0.log.3.gz", "0.log.2", "0.log.5.tmp"]);
        let expected = Plan { remove: names(&["0.log.2", "0.log.5.tmp", "0.log.1.gz"]), compress: names(&["0.log.4"]) };
        assert_eq!(plan(files, 5), expected);
        assert_eq!(plan(Vec::new(), 5), Plan::default());
    }

    #[test]
    fn names_are_the_kubelets() {
        let time = "2024-01-31T15:45:00Z".parse().expect("a time");
        assert_eq!(aside(Path::new("/x/0.log"), time), Path::new("/x/0.log.20240131-154500"));
    }

    #[test]
    fn a_log_goes_with_what_was_moved_aside_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["1.log", "1.log.20240131-154500", "1.log.20240130-154500.gz", "11.log", "2.log", "1.logs"] {
            fs::write(folder.path().join(name), "text").expect("a file");
        }
        remove_all(&folder.path().join("1.log")).expect("removed");
        remove_all(&folder.path().join("3.log")).expect("none");
        remove_all(&folder.path().join("none/0.log")).expect("none");
        let mut left: Vec<_> = fs::read_dir(folder.path()).expect("read").flatten().map(|e| e.file_name()).collect();
        left.sort();
        assert_eq!(left, ["1.logs", "11.log", "2.log"]);
    }

    #[test]
    fn room_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("0.log");
        for (name, text) in [("0.log", "now"), ("0.log.1", "before"), ("00.log.1", "of another")] {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        make_room(&log).expect("room");
        let mut left: Vec<_> = fs::read_dir(folder.path()).expect("read").flatten().map(|e| e.file_name()).collect();
        left.sort();
        assert_eq!(left, ["0.log", "0.log.1.gz", "00.log.1"]);
        let mut text = String::new();
        let packed = File::open(folder.path().join("0.log.1.gz")).expect("a file");
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("unpacked");
        assert_eq!(text, "before");
    }
}
