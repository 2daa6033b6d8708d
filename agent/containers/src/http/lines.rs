//! Answers that come line by line while the work goes on: JSON, one value a line, errors as the last.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::error::{Error, Result};

/// Where the work writes its lines.
#[derive(Debug, Clone)]
pub struct Lines(mpsc::UnboundedSender<String>);

impl Lines {
    /// Writes a line; one that no one reads is lost.
    pub fn write(&self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            self.0.send(format!("{text}\r\n")).ok();
        }
    }
}

/// The lines as they come. The work ends when no one reads them any more.
struct Working {
    lines: mpsc::UnboundedReceiver<String>,
    work: AbortHandle,
}

impl Stream for Working {
    type Item = String;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<String>> {
        self.lines.poll_recv(context)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.work.abort();
    }
}

/// Does the `work` and answers with what it writes. When it fails before it wrote anything, the
/// answer is the error itself.
pub async fn answer<W, F>(work: W) -> Result<Response>
where
    W: FnOnce(Lines) -> F,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    let lines = Lines(sender);
    let last = lines.clone();
    let (failed, mut failure) = tokio::sync::oneshot::channel::<Error>();
    let work = work(lines);
    let task = tokio::spawn(async move {
        if let Err(error) = work.await {
            let message = error.to_string();
            failed.send(error).ok();
            last.write(&json!({ "errorDetail": { "message": message }, "error": message }));
        }
    });
    let mut working = Working { lines: receiver, work: task.abort_handle() };
    let first = working.lines.recv().await;
    if first.as_deref().is_some_and(is_error)
        && let Ok(error) = failure.try_recv()
    {
        return Err(error);
    }
    let stream = futures_util::stream::iter(first).chain(working).map(Ok::<_, std::convert::Infallible>);
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(stream)).into_response())
}

fn is_error(line: &str) -> bool {
    line.starts_with(r#"{"errorDetail""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(response: Response) -> String {
        let data = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        String::from_utf8(data.to_vec()).unwrap()
    }

    fn broken() -> Error {
        Error::NotFound("gone".to_owned())
    }

    #[tokio::test]
    async fn an_early_failure_is_the_answer_and_a_late_one_the_last_line() {
        assert!(matches!(answer(|_| async { Err(broken()) }).await, Err(Error::NotFound(_))));
        let late = answer(|lines| async move {
            lines.write(&json!({ "status": "a" }));
            Err(broken())
        });
        let expected = "{\"status\":\"a\"}\r\n{\"errorDetail\":{\"message\":\"gone\"},\"error\":\"gone\"}\r\n";
        assert_eq!(body(late.await.unwrap()).await, expected);
        assert_eq!(body(answer(|_| async { Ok(()) }).await.unwrap()).await, "");
    }

    #[tokio::test]
    async fn the_work_ends_with_its_reader() {
        let (held, mut dropped) = mpsc::channel::<()>(1);
        let response = answer(|lines| async move {
            let _held = held;
            lines.write(&1);
            std::future::pending().await
        });
        drop(response.await.unwrap());
        assert_eq!(dropped.recv().await, None);
    }
}
