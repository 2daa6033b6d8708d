//! Owns what a request carries: nothing, a document, or a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;
use tokio::sync::mpsc;

/// A request's body.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// A JSON document; none once it is sent.
    Document(Option<Bytes>),
    /// A tar archive, in pieces; an error breaks the request off.
    Archive(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body {
    /// `value` as JSON.
    pub fn document(value: &impl Serialize) -> serde_json::Result<Self> {
        Ok(Self::Document(Some(serde_json::to_vec(value)?.into())))
    }

    /// Its media type.
    pub fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Document(_) => Some("application/json"),
            Self::Archive(_) => Some("application/x-tar"),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Document(document) => Poll::Ready(document.take().map(|document| Ok(Frame::data(document)))),
            Self::Archive(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Empty | Self::Document(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Document(None) => SizeHint::with_exact(0),
            Self::Document(Some(document)) => SizeHint::with_exact(document.len() as u64),
            Self::Archive(_) => SizeHint::default(),
        }
    }
}
