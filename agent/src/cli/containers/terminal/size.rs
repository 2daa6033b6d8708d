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
        send(client, target).await;
        changed.recv().await;
    }
}

/// A process that ends meanwhile has no size to set, so failing is no news.
async fn send(client: &Client, target: &Target) {
    if let Some((rows, columns)) = size() {
        let target = target.clone().with("h", rows).with("w", columns);
        let _ = client.send(hyper::Method::POST, &target, Body::Empty).await;
    }
}
