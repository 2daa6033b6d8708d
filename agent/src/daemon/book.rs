//! Owns the list of transactions, purely: one runs at a time, the latest that ended are kept for
//! clients that come back for them.

use std::collections::VecDeque;

use crate::model::transaction::{Failure, State};
use crate::model::{Outcome, Progress, Request, Transaction};

/// How many ended transactions are kept.
const KEPT: usize = 16;

/// The transactions of this keeld.
#[derive(Debug, Default)]
pub struct Book {
    last: u64,
    running: Option<Transaction>,
    ended: VecDeque<Transaction>,
}

/// What a new request meets.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// Nothing runs: this one starts, under this number.
    Start(u64),
    /// The very same runs already, under this number.
    Join(u64),
    /// Something else runs; the text says what and for whom.
    Busy(String),
}

impl Book {
    /// Takes a request on, if it can be. `now` is the present moment, RFC 3339.
    pub fn admit(&mut self, request: &Request, uid: u32, now: &str) -> Admission {
        if let Some(running) = &self.running {
            if running.request == *request {
                return Admission::Join(running.id);
            }
            return Admission::Busy(busy(running));
        }
        self.last += 1;
        self.running = Some(Transaction {
            id: self.last,
            request: request.clone(),
            uid,
            started: now.to_owned(),
            state: State::Running,
            progress: Progress::default(),
            outcome: None,
            error: None,
        });
        Admission::Start(self.last)
    }

    /// The running transaction.
    pub fn running(&self) -> Option<&Transaction> {
        self.running.as_ref()
    }

    /// A transaction by its number, while it is kept.
    pub fn get(&self, id: u64) -> Option<&Transaction> {
        self.running.iter().chain(&self.ended).find(|transaction| transaction.id == id)
    }

    /// Notes how far the running transaction is.
    pub fn progress(&mut self, id: u64, progress: Progress) {
        if let Some(running) = self.running.as_mut().filter(|running| running.id == id) {
            running.progress = progress;
        }
    }

    /// Ends the running transaction and gives the whole of it.
    pub fn finish(&mut self, id: u64, result: Result<Outcome, Failure>) -> Option<Transaction> {
        let mut ended = self.running.take_if(|running| running.id == id)?;
        match result {
            Ok(outcome) => (ended.state, ended.outcome) = (State::Done, Some(outcome)),
            Err(failure) => (ended.state, ended.error) = (State::Failed, Some(failure)),
        }
        self.ended.push_front(ended.clone());
        self.ended.truncate(KEPT);
        Some(ended)
    }
}

fn busy(running: &Transaction) -> String {
    format!(
        "busy: {} is running (started by uid {} at {}); `keelctl status` shows how far it is",
        running.request.noun(),
        running.uid,
        running.started
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::request::Upgrade;

    fn upgrade() -> Request {
        Request::Upgrade(Upgrade::default())
    }

    #[test]
    fn one_runs_at_a_time() {
        let mut book = Book::default();
        assert_eq!(book.admit(&upgrade(), 7, "now"), Admission::Start(1));
        assert_eq!(book.admit(&upgrade(), 0, "later"), Admission::Join(1));
        let Admission::Busy(text) = book.admit(&Request::Check, 0, "later") else { panic!("admitted") };
        assert!(text.starts_with("busy: an upgrade is running (started by uid 7 at now)"), "{text}");
        book.finish(1, Ok(Outcome::default())).unwrap();
        assert_eq!(book.admit(&Request::Check, 0, "later"), Admission::Start(2));
    }

    #[test]
    fn who_comes_late_still_learns_the_outcome() {
        let mut book = Book::default();
        book.admit(&upgrade(), 0, "now");
        let failure = Failure { kind: "unsigned".into(), message: "no".into() };
        assert_eq!(book.finish(1, Err(failure.clone())).unwrap().error, Some(failure));
        assert_eq!(book.get(1).unwrap().state, State::Failed);
        assert!(book.finish(1, Ok(Outcome::default())).is_none() && book.get(2).is_none());
    }

    #[test]
    fn progress_is_of_the_running_one_only() {
        let mut book = Book::default();
        book.admit(&upgrade(), 0, "now");
        let progress = Progress { done: 5, ..Progress::default() };
        book.progress(2, progress.clone());
        assert_eq!(book.running().unwrap().progress.done, 0);
        book.progress(1, progress);
        assert_eq!(book.running().unwrap().progress.done, 5);
    }
}
