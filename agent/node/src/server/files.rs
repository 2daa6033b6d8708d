//! Owns /logs/: the host's own logs, /var/log, as a folder of files.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::mpsc;

use super::reply::{self, Refusal, Response};

/// Where the host logs.
const ROOT: &str = "/var/log";
/// How much is read at once.
const BLOCK: u64 = 64 << 10;
/// What stays as it is in a link.
const LINK: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// What is at a path.
enum Found {
    File(File),
    Folder(Vec<String>),
    /// A folder that was asked for like a file; links in it would lead beside it.
    Redirect(String),
}

/// Answers with a file, or with the list of a folder.
pub(super) async fn answer(path: String) -> Result<Response, Refusal> {
    let found = tokio::task::spawn_blocking(move || find(Path::new(ROOT), &path)).await.map_err(Refusal::internal)?;
    match found? {
        Found::File(file) => Ok(send(file)),
        Found::Folder(names) => {
            Ok(reply::typed(StatusCode::OK, "text/html; charset=utf-8", reply::full(html(&names))))
        }
        Found::Redirect(to) => {
            let mut response = reply::text(StatusCode::MOVED_PERMANENTLY, "");
            let to = HeaderValue::from_str(&to).map_err(Refusal::internal)?;
            response.headers_mut().insert(LOCATION, to);
            Ok(response)
        }
    }
}

/// What is at `path` below `root`. Pods write below it too, so a link that leads out of it is not followed.
fn find(root: &Path, path: &str) -> Result<Found, Refusal> {
    let missing = || Refusal::not_found("404 page not found\n");
    let relative = Path::new(path.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) || path.contains('\0') {
        return Err(missing());
    }
    // Without waiting for who writes to a pipe.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(root.join(relative));
    let file = opened.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Refusal::new(StatusCode::FORBIDDEN, "403 Forbidden\n"),
        _ => missing(),
    })?;
    let (root, opened) = (std::fs::canonicalize(root), std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())));
    let (root, opened) = (root.map_err(Refusal::internal)?, opened.map_err(Refusal::internal)?);
    if !opened.starts_with(&root) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "403 Forbidden\n"));
    }
    let kind = file.metadata().map_err(Refusal::internal)?.file_type();
    if kind.is_file() {
        return Ok(Found::File(file));
    }
    if !kind.is_dir() {
        return Err(missing());
    }
    if !path.is_empty() && !path.ends_with('/') {
        let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        return Ok(Found::Redirect(format!("{}/", utf8_percent_encode(name, LINK))));
    }
    let entries = std::fs::read_dir(opened).map_err(Refusal::internal)?.flatten();
    let names = entries.filter_map(|entry| {
        let slash = if entry.file_type().is_ok_and(|kind| kind.is_dir()) { "/" } else { "" };
        Some(entry.file_name().into_string().ok()? + slash)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(Found::Folder(names))
}

fn html(names: &[String]) -> String {
    let escaped = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let links = names
        .iter()
        .map(|name| format!("<a href=\"{}\">{}</a>\n", utf8_percent_encode(name, LINK), escaped(name)));
    format!("<!doctype html>\n<pre>\n{}</pre>\n", links.collect::<String>())
}

fn send(mut file: File) -> Response {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut block = Vec::new();
            let read = file.by_ref().take(BLOCK).read_to_end(&mut block);
            let piece = match read {
                Ok(0) => break,
                Ok(_) => Ok(block.into()),
                Err(error) => Err(error),
            };
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                break;
            }
        }
    });
    reply::pieces(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(root: &Path, path: &str) -> StatusCode {
        match find(root, path) {
            Ok(Found::File(_) | Found::Folder(_)) => StatusCode::OK,
            Ok(Found::Redirect(_)) => StatusCode::MOVED_PERMANENTLY,
            Err(refusal) => refusal.status,
        }
    }

    #[test]
    fn nothing_outside_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("log");
        std::fs::create_dir_all(root.join("pods")).expect("a folder");
        std::fs::write(root.join("pods/a.log"), "a").expect("a file");
        std::fs::write(folder.path().join("secret"), "s").expect("a file");
        let link = std::os::unix::fs::symlink::<&Path, &Path>;
        link(&root.join("pods/a.log"), &root.join("inside")).expect("a link");
        link(&folder.path().join("secret"), &root.join("outside")).expect("a link");
        assert_eq!(status(&root, ""), StatusCode::OK);
        assert_eq!(status(&root, "pods/a.log"), StatusCode::OK);
        assert_eq!(status(&root, "pods"), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(status(&root, "pods/"), StatusCode::OK);
        assert_eq!(status(&root, "inside"), StatusCode::OK);
        assert_eq!(status(&root, "outside"), StatusCode::FORBIDDEN);
        assert_eq!(status(&root, "../secret"), StatusCode::NOT_FOUND);
        assert_eq!(status(&root, "pods/../../secret"), StatusCode::NOT_FOUND);
        assert_eq!(status(&root, "missing"), StatusCode::NOT_FOUND);
    }

    #[test]
    fn a_folder_is_a_list_of_links() {
        let names = ["a b<".to_owned(), "c/".to_owned()];
        let expected = "<!doctype html>\n<pre>\n<a href=\"a%20b%3C\">a b&lt;</a>\n<a href=\"c/\">c/</a>\n</pre>\n";
        assert_eq!(html(&names), expected);
    }
}
