//! Owns the size of the terminal, and telling a container's process of it.

use std::io;

use anyhow::Context;
use rustix::termios::tcgetwinsize;
use tokio::signal::unix::{SignalKind, signal};

use super::super::client::{Body, Client, Target};

/// Rows and columns; none where standard output is no terminal or has no size.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Sends the size to `target` (`…/resize`) now and whenever it changes; never ends.
pub async fn follow(client: &Client, target: &Target) -> anyhow::Result<std::convert::Infallible> {
    let mut changed = signal(SignalKind::window_change()).context("cannot follow the size of the terminal")?;
    loop {
        send(client, target, 0).await;
        changed.recv().await;
    }
}

/// Sends a size that is off by one, so that the right one, sent after it, has the process draw anew.
pub async fn nudge(client: &Client, target: &Target) {
    send(client, target, 1).await;
}

/// A process that ends meanwhile has no size to set, so failing is no news.
async fn send(client: &Client, target: &Target, off: u16) {
    if let Some((rows, columns)) = size() {
        let target = target.clone().with("h", rows.saturating_add(off)).with("w", columns.saturating_add(off));
        let _ = client.send(hyper::Method::POST, &target, Body::Empty).await;
    }
}
