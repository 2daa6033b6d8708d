//! Owns following a tag: when the registry is asked, when a newer image is taken, and when it was
//! no good and the old one comes back. Pure; the reconciler asks registries and keeps the result.
//!
//! ```text
//!              newer image, in the window
//!   settled ------------------------------> on trial: previous is kept
//!      ^                                     |      |
//!      |  healthy, or ran for `trial`        |      |  unhealthy, ended, cannot be made
//!      +-------------------------------------+      |
//!      +--------------------------------------------+  wanted = previous, the newer one is bad
//! ```

use super::format::window::Moment;
use super::model::Update;
use super::world::{Followed, Health, Life, Millis, Observed};

/// Images that were no good and are remembered so.
const BAD: usize = 8;

/// What is known when it is decided.
#[derive(Debug)]
pub struct Facts<'a> {
    /// How the container follows.
    pub update: &'a Update,
    /// Where it has come to.
    pub followed: &'a Followed,
    /// The container, when it is there.
    pub observed: Option<&'a Observed>,
    /// Whether a person wants the registry asked now, whatever the interval and the window.
    pub asked: bool,
    /// Whether making or starting it failed lately.
    pub failed: Option<&'a str>,
    /// The present.
    pub now: Millis,
    /// The present, in the host's week.
    pub moment: Moment,
}

/// What is to be done about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing before this moment.
    Nothing(Millis),
    /// The registry is asked what the tag is now.
    Ask,
    /// The new image is good.
    Settle,
    /// The new image is no good, for this reason.
    GoBack(String),
}

/// Decides.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let Followed { wanted: Some(wanted), previous, since, checked, .. } = facts.followed else {
        // The tag was never looked up: pulling it for the first time does that.
        return Decision::Nothing(Millis::MAX);
    };
    if previous.is_some() {
        return trial(facts, wanted, *since);
    }
    let next = checked.saturating_add(millis(facts.update.interval));
    let open = facts.update.window.as_ref().is_none_or(|window| window.contains(facts.moment));
    if facts.asked {
        return Decision::Ask;
    }
    match (next <= facts.now, open) {
        (true, true) => Decision::Ask,
        // A window is looked for by the minute.
        (true, false) => Decision::Nothing(facts.now + 60_000),
        (false, _) => Decision::Nothing(next),
    }
}

fn trial(facts: &Facts<'_>, wanted: &str, since: Millis) -> Decision {
    if let Some(why) = facts.failed {
        return Decision::GoBack(why.to_owned());
    }
    // What is left of the old container says nothing of the new image.
    let Some(new) = facts.observed.filter(|observed| observed.image == wanted) else {
        return Decision::Nothing(Millis::MAX);
    };
    match (new.state, new.health) {
        (Life::Exited(code), _) if new.started >= since => Decision::GoBack(format!("it ended with {code}")),
        (Life::Running, Some(Health::Unhealthy)) => Decision::GoBack("it is unhealthy".to_owned()),
        (Life::Running, Some(Health::Healthy)) => Decision::Settle,
        (Life::Running, None) => {
            let end = new.started.saturating_add(millis(facts.update.trial));
            if end <= facts.now { Decision::Settle } else { Decision::Nothing(end) }
        }
        _ => Decision::Nothing(Millis::MAX),
    }
}

impl Followed {
    /// Where following `tag` begins: with the image of that name that is there.
    pub fn begin(tag: &str, image: String, now: Millis) -> Self {
        Self { tag: tag.to_owned(), wanted: Some(image), since: now, checked: now, ..Self::default() }
    }

    /// The registry was asked, and the tag is `image`. Says whether that is to be tried.
    pub fn told(&mut self, image: String, now: Millis) -> bool {
        self.checked = now;
        if self.wanted.as_ref() == Some(&image) || self.bad.contains(&image) {
            return false;
        }
        self.previous = self.wanted.replace(image);
        self.since = now;
        true
    }

    /// The image on trial is good.
    pub fn settle(&mut self) {
        self.previous = None;
        self.reason = None;
    }

    /// The image on trial is no good.
    pub fn go_back(&mut self, why: String) {
        let Some(previous) = self.previous.take() else { return };
        if let Some(bad) = self.wanted.replace(previous) {
            self.reason = Some(format!("{bad} was no good: {why}"));
            self.bad.push(bad);
            let excess = self.bad.len().saturating_sub(BAD);
            self.bad.drain(..excess);
        }
    }
}

fn millis(duration: std::time::Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::declaration;
    use super::*;

    const NOW: Millis = 10_000_000;

    fn decided(keys: &str, followed: &Followed, observed: Option<&Observed>, minute: u16) -> Decision {
        let update = declaration("app", &format!("update = {{ follow = 'tag', {keys} }}")).update.unwrap();
        let moment = Moment { day: 0, minute };
        decide(&Facts { update: &update, followed, observed, asked: false, failed: None, now: NOW, moment })
    }

    fn running(image: &str) -> Observed {
        Observed { image: image.into(), state: Life::Running, started: NOW - 30_000, ..Observed::default() }
    }

    #[test]
    fn the_registry_is_asked_by_interval_and_window() {
        let followed = Followed::begin("img:1", "img@a".into(), NOW - 3_600_000);
        assert_eq!(decided("interval = '1h'", &followed, None, 0), Decision::Ask);
        assert_eq!(decided("interval = '2h'", &followed, None, 0), Decision::Nothing(NOW + 3_600_000));
        let keys = "interval = '1h', window = '02:00-04:00'";
        assert_eq!(decided(keys, &followed, None, 0), Decision::Nothing(NOW + 60_000));
        assert_eq!(decided(keys, &followed, None, 150), Decision::Ask);
        assert_eq!(decided("", &Followed::default(), None, 0), Decision::Nothing(Millis::MAX));
    }

    #[test]
    fn an_image_on_trial_settles_when_it_is_healthy_or_runs_long_enough() {
        let mut followed = Followed::begin("img:1", "img@a".into(), 0);
        assert!(followed.told("img@b".into(), NOW - 60_000));
        assert_eq!(decided("", &followed, Some(&running("img@a")), 0), Decision::Nothing(Millis::MAX));
        assert_eq!(decided("trial = '20s'", &followed, Some(&running("img@b")), 0), Decision::Settle);
        assert_eq!(decided("trial = '40s'", &followed, Some(&running("img@b")), 0), Decision::Nothing(NOW + 10_000));
        let healthy = Observed { health: Some(Health::Healthy), ..running("img@b") };
        assert_eq!(decided("trial = '1h'", &followed, Some(&healthy), 0), Decision::Settle);
        followed.settle();
        assert_eq!((followed.wanted.as_deref(), followed.previous.as_deref()), (Some("img@b"), None));
    }

    #[test]
    fn an_unhealthy_or_dying_image_goes_back_and_is_not_tried_again() {
        let mut followed = Followed::begin("img:1", "img@a".into(), 0);
        followed.told("img@b".into(), NOW - 60_000);
        let unhealthy = Observed { health: Some(Health::Unhealthy), ..running("img@b") };
        assert_eq!(decided("", &followed, Some(&unhealthy), 0), Decision::GoBack("it is unhealthy".into()));
        let dead = Observed { state: Life::Exited(7), ..running("img@b") };
        assert_eq!(decided("", &followed, Some(&dead), 0), Decision::GoBack("it ended with 7".into()));
        followed.go_back("it ended with 7".into());
        assert_eq!(followed.wanted.as_deref(), Some("img@a"));
        assert_eq!(followed.reason.as_deref(), Some("img@b was no good: it ended with 7"));
        assert!(!followed.told("img@b".into(), NOW));
        assert!(!followed.told("img@a".into(), NOW));
        assert!(followed.told("img@c".into(), NOW));
    }
}
