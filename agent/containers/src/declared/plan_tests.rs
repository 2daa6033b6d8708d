//! Tests of the plan: a world in a few words, and what is done in it.

use std::collections::BTreeMap;

use super::model::{Broken, Declared};
use super::plan::{Plan, delay, plan};
use super::step::{Action, Standing, Step};
use super::testing::{declared, file};
use super::world::{Failure, Followed, Health, ImageState, Life, Memory, Observed, World};

/// A world to change and to plan in.
struct Given {
    declared: Declared,
    observed: BTreeMap<String, Observed>,
    memories: BTreeMap<String, Memory>,
    images: BTreeMap<String, ImageState>,
    failures: BTreeMap<String, Failure>,
    now: u64,
}

impl Given {
    fn new(containers: &[(&str, &str)]) -> Self {
        Self {
            declared: declared(containers),
            observed: BTreeMap::new(),
            memories: BTreeMap::new(),
            images: BTreeMap::from([("img:1".into(), ImageState::Here)]),
            failures: BTreeMap::new(),
            now: 1_000_000,
        }
    }

    /// The container as the declaration has it, doing this.
    fn with(mut self, name: &str, state: Life) -> Self {
        let found = self.declared.containers().find(|container| container.name == name).unwrap();
        let observed = Observed {
            id: format!("id-{name}"),
            owner: Some(found.owner()),
            hash: Some(found.hash.clone()),
            network: found.network.clone(),
            image: "img:1".into(),
            state,
            started: 990_000,
            finished: 995_000,
            health: None,
        };
        self.observed.insert(name.into(), observed);
        self.memories.entry(name.into()).or_default().boot = "boot".into();
        self
    }

    fn change(mut self, name: &str, change: impl FnOnce(&mut Observed)) -> Self {
        change(self.observed.get_mut(name).unwrap());
        self
    }

    fn plan(&self) -> Plan {
        plan(&World {
            declared: &self.declared,
            observed: &self.observed,
            memories: &self.memories,
            images: &self.images,
            failures: &self.failures,
            now: self.now,
            boot: "boot",
        })
    }

    fn step(&self, name: &str) -> Step {
        self.plan().steps.into_iter().find(|step| step.name == name).unwrap()
    }

    /// `create`, `create?` when it waits.
    fn shown(&self) -> Vec<String> {
        let show = |step: &Step| {
            let wait = if step.waits.is_some() { "?" } else { "" };
            format!("{} {:?}{wait}", step.name, step.action).to_lowercase()
        };
        self.plan().steps.iter().map(show).collect()
    }
}

#[test]
fn what_is_not_there_is_made_in_order() {
    let given =
        Given::new(&[("app", "requires = { db = 'healthy' }"), ("db", ""), ("log", ""), ("zz", "after = ['log']")]);
    assert_eq!(given.shown(), ["db create", "app create?", "log create", "zz create?"]);
    assert_eq!(given.step("app").waits.unwrap().why, "it requires db to be healthy");
    let given = given.with("log", Life::Running).with("db", Life::Running);
    assert_eq!(given.shown(), ["db keep", "app create?", "log keep", "zz create"]);
    assert_eq!(given.step("app").standing, Standing::Failed);
    assert!(given.step("app").waits.unwrap().why.contains("has no health check"));
    let given = given.change("db", |db| db.health = Some(Health::Starting));
    assert_eq!(given.step("app").standing, Standing::Waiting);
    let given = given.change("db", |db| db.health = Some(Health::Healthy));
    assert_eq!(given.step("app").waits, None);
}

#[test]
fn what_is_as_declared_is_kept() {
    let given = Given::new(&[("app", "")]).with("app", Life::Running);
    assert_eq!(given.shown(), ["app keep"]);
    assert_eq!(given.step("app").standing, Standing::Ok);
    assert_eq!(given.plan().wake, None);
}

#[test]
fn a_changed_declaration_replaces_and_restarts_what_requires_it() {
    let given = Given::new(&[
        ("app", "requires = { db = 'started' }"),
        ("db", ""),
        ("side", "network = 'container:db'"),
        ("top", "requires = { app = 'started' }"),
        ("web", "after = ['db']"),
    ]);
    let given =
        ["app", "db", "side", "top", "web"].into_iter().fold(given, |given, name| given.with(name, Life::Running));
    let given = given.change("db", |db| db.hash = Some("old".into()));
    assert_eq!(given.shown(), ["db replace", "app stop", "side remove", "top stop", "web keep"]);
    assert!(given.step("app").again);
    // The next look: db runs again, and app was stopped.
    let mut given = given.with("db", Life::Running).with("app", Life::Exited(143)).with("top", Life::Exited(143));
    given.observed.remove("side");
    for name in ["app", "top"] {
        given.memories.get_mut(name).unwrap().again = true;
    }
    assert_eq!(given.shown(), ["db keep", "app start", "side create", "top start?", "web keep"]);
}

#[test]
fn the_old_container_runs_until_the_image_of_the_new_one_is_there() {
    let mut given = Given::new(&[("app", ""), ("top", "requires = { app = 'started' }")]);
    given = given.with("app", Life::Running).with("top", Life::Running).change("app", |app| app.hash = None);
    given.images.clear();
    assert_eq!(given.shown(), ["app replace?", "top keep"]);
    assert!(given.step("app").waits.unwrap().pull);
    given.images.insert("img:1".into(), ImageState::Pulling);
    assert!(!given.step("app").waits.unwrap().pull);
    given.images.insert("img:1".into(), ImageState::Failed { why: "no route".into(), until: 1_000_500 });
    let step = given.step("app");
    assert_eq!((step.standing, step.waits.unwrap().why.as_str()), (Standing::Failed, "no route"));
    assert_eq!(given.plan().wake, Some(1_000_500));
    given.now = 1_000_500;
    assert!(given.step("app").waits.unwrap().pull);
}

#[test]
fn what_changed_together_goes_down_together() {
    let given = Given::new(&[("app", "requires = { db = 'started' }"), ("db", "")]);
    let given = given.with("app", Life::Running).with("db", Life::Running);
    let mut given = given.change("db", |db| db.hash = None).change("app", |app| app.hash = None);
    assert_eq!(given.shown(), ["db replace", "app remove"]);
    // Also when it was ended in between.
    given.observed.remove("db");
    assert_eq!(given.shown(), ["db create", "app remove"]);
    given.failures.insert("db".into(), Failure { why: "x".into(), count: 1, until: 1_000_100 });
    assert_eq!(given.shown(), ["db create?", "app replace?"]);
}

#[test]
fn a_new_network_of_the_group_takes_all_its_containers_down_first() {
    let text = |port: u16| {
        let one = |name: &str, more: &str| format!("[[container]]\nname = '{name}'\nimage = 'img:1'\n{more}\n");
        let all =
            [one("aa", ""), one("bb", "requires = { aa = 'started' }"), one("cc", "requires = { bb = 'started' }")];
        format!("[group]\nports = ['{port}:80']\n{}", all.concat())
    };
    let mut given = Given::new(&[]);
    given.declared.files.push(file("pod", &text(1)));
    given = ["aa", "bb", "cc"].into_iter().fold(given, |given, name| given.with(name, Life::Running));
    assert_eq!(given.shown(), ["aa keep", "bb keep", "cc keep"]);
    given.declared.files[0] = file("pod", &text(2));
    assert_eq!(given.shown(), ["aa remove", "bb remove", "cc remove"]);
    // Ended in between: what is left of the old ones holds the old network.
    given.observed.retain(|name, _| name == "cc");
    assert_eq!(given.shown(), ["aa create", "bb create?", "cc remove"]);
    given.observed.clear();
    assert_eq!(given.shown(), ["aa create", "bb create?", "cc create?"]);
}

#[test]
fn circles_are_refused_and_the_rest_goes_on() {
    let given = Given::new(&[
        ("aa", "after = ['bb']"),
        ("bb", "after = ['aa']"),
        ("cc", "requires = { aa = 'started' }"),
        ("dd", ""),
    ]);
    assert_eq!(given.shown(), ["dd create", "aa refuse", "bb refuse", "cc create?"]);
    assert!(given.step("aa").reason.contains("aa -> bb -> aa"));
    assert_eq!(given.step("cc").standing, Standing::Failed);
}

#[test]
fn containers_made_by_hand_are_never_touched() {
    let mut given = Given::new(&[("app", "")]);
    given.observed.insert("app".into(), Observed { id: "0123456789abcdef".into(), ..Observed::default() });
    given.observed.insert("other".into(), Observed { id: "x".into(), ..Observed::default() });
    assert_eq!(given.shown(), ["app refuse"]);
    let reason = given.step("app").reason;
    assert!(
        reason.starts_with("Conflict. The container name \"/app\" is already in use by container 0123456789ab"),
        "{reason}"
    );
}

#[test]
fn what_no_file_declares_any_more_is_removed_unless_its_file_is_broken() {
    let mut given = Given::new(&[("app", "")]).with("app", Life::Running);
    given.declared.files.clear();
    assert_eq!(given.shown(), ["app remove"]);
    given.declared.broken.push(Broken { name: "app.toml".into(), problems: vec![] });
    assert_eq!(given.shown(), ["app keep"]);
    assert_eq!(given.step("app").standing, Standing::Failed);
    // Another file declares the name now: the broken one still has it.
    given.declared.files.push(file("new", "[[container]]\nname = 'app'\nimage = 'img:1'\n"));
    assert_eq!(given.shown(), ["app refuse"]);
    given.declared.broken.clear();
    assert_eq!(given.shown(), ["app replace"]);
}

#[test]
fn a_name_belongs_to_the_first_file() {
    let mut given = Given::new(&[("app", "")]);
    given.declared.files.push(file("later", "[[container]]\nname = 'app'\nimage = 'img:1'\n"));
    let steps = given.plan().steps;
    assert_eq!(steps[0].owner, "app.toml/app");
    assert_eq!(
        (steps[1].action, steps[1].reason.as_str()),
        (Action::Refuse, "the name is declared in app.toml already")
    );
}

#[test]
fn restarts_wait_longer_each_time_and_give_up() {
    let keys = "restart = { policy = 'on-failure', retries = 3, delay = '2s', max-delay = '5s', reset-after = '1m' }";
    let mut given = Given::new(&[("app", keys)]).with("app", Life::Exited(1));
    // It ended 5 s ago.
    let waits = |given: &Given| given.step("app").waits.and_then(|waits| waits.until);
    assert_eq!(waits(&given), None);
    given.now = 995_500;
    assert_eq!(waits(&given), Some(997_000));
    given.memories.get_mut("app").unwrap().restarts = 1;
    assert_eq!(waits(&given), Some(999_000));
    given.memories.get_mut("app").unwrap().restarts = 2;
    assert_eq!(waits(&given), Some(1_000_000));
    given.memories.get_mut("app").unwrap().restarts = 3;
    let step = given.step("app");
    assert_eq!((step.action, step.standing), (Action::Keep, Standing::Failed));
    // A long run makes it good again; so does another boot.
    let given = given.change("app", |app| app.started = 995_000 - 60_000);
    assert_eq!(waits(&given), Some(997_000));
    let mut given = given.change("app", |app| app.started = 990_000);
    given.memories.get_mut("app").unwrap().boot = "before".into();
    assert_eq!((given.step("app").action, waits(&given)), (Action::Start, None));
    assert_eq!(delay(1000, 300_000, 70), 300_000);
}

#[test]
fn the_last_restart_is_no_failure_while_it_is_under_way() {
    let keys = "restart = { policy = 'on-failure', retries = 2, delay = '1s', reset-after = '10s' }";
    let mut given = Given::new(&[("app", keys)]).with("app", Life::Exited(1));
    given.memories.get_mut("app").unwrap().restarts = 1;
    given.now += 60_000;
    let doing = given.step("app");
    assert_eq!((doing.action, doing.restarts), (Action::Start, 2));
    given.memories.get_mut("app").unwrap().restarts = doing.restarts;
    let mut plan = given.plan();
    assert_eq!(plan.steps[0].standing, Standing::Failed);
    plan.take_over([("app".to_owned(), doing.clone())].into());
    assert_eq!(plan.steps, std::slice::from_ref(&doing));
    // Another's of the same name is not meant.
    let mut plan = given.plan();
    plan.take_over([("app".to_owned(), Step { owner: "other/app".to_owned(), ..doing })].into());
    assert_eq!(plan.steps[0].standing, Standing::Failed);
}

#[test]
fn what_is_done_stays_done() {
    for (policy, code, action, standing) in [
        ("no", 0, Action::Keep, Standing::Ok),
        ("no", 2, Action::Keep, Standing::Failed),
        ("on-failure", 0, Action::Keep, Standing::Ok),
        ("on-failure", 2, Action::Start, Standing::Waiting),
        ("always", 0, Action::Start, Standing::Waiting),
    ] {
        let given =
            Given::new(&[("app", &format!("restart = {{ policy = '{policy}' }}"))]).with("app", Life::Exited(code));
        let step = given.step("app");
        assert_eq!((step.action, step.standing), (action, standing), "{policy} {code}");
    }
    let given = Given::new(&[("app", "requires = { job = 'completed' }"), ("job", "restart = { policy = 'no' }")]);
    assert_eq!(given.with("job", Life::Exited(0)).shown(), ["job keep", "app create"]);
}

#[test]
fn what_is_not_enabled_is_stopped_and_what_requires_it_too() {
    let given = Given::new(&[("app", "requires = { db = 'started' }"), ("db", "enabled = false")]);
    assert_eq!(given.shown(), ["db keep", "app create?"]);
    let given = given.with("db", Life::Running).with("app", Life::Running);
    assert_eq!(given.shown(), ["db stop", "app stop"]);
    assert!(!given.step("db").again && given.step("app").again);
}

#[test]
fn the_unhealthy_is_restarted_where_that_is_asked_for() {
    let health = "health = { command = ['true'], on-unhealthy = 'WHAT' }";
    for (what, action, standing) in
        [("restart", Action::Restart, Standing::Waiting), ("report", Action::Keep, Standing::Failed)]
    {
        let given = Given::new(&[("app", &health.replace("WHAT", what))]).with("app", Life::Running);
        let given = given.change("app", |app| app.health = Some(Health::Unhealthy));
        assert_eq!((given.step("app").action, given.step("app").standing), (action, standing));
    }
}

#[test]
fn failures_are_tried_again_after_a_pause() {
    let mut given = Given::new(&[("app", "")]);
    given.failures.insert("app".into(), Failure { why: "no space".into(), count: 1, until: 1_000_100 });
    assert_eq!(given.shown(), ["app create?"]);
    assert_eq!(given.plan().wake, Some(1_000_100));
    given.now = 1_000_100;
    assert_eq!(given.shown(), ["app create"]);
}

#[test]
fn a_followed_tag_replaces_by_its_digest_and_goes_back() {
    let mut given = Given::new(&[("app", "update = { follow = 'tag' }")]).with("app", Life::Running);
    let image = |wanted: &str, previous: Option<&str>| Followed {
        tag: "img:1".into(),
        wanted: Some(wanted.into()),
        previous: previous.map(Into::into),
        ..Followed::default()
    };
    given.images.extend([("img@new".to_owned(), ImageState::Here), ("img@old".to_owned(), ImageState::Here)]);
    given = given.change("app", |app| app.image = "img@old".into());
    given.memories.get_mut("app").unwrap().image = image("img@old", None);
    assert_eq!(given.shown(), ["app keep"]);
    given.memories.get_mut("app").unwrap().image = image("img@new", Some("img@old"));
    let step = given.step("app");
    assert_eq!((step.action, step.image.as_str()), (Action::Replace, "img@new"));
    let mut given = given.change("app", |app| app.image = "img@new".into());
    given.memories.get_mut("app").unwrap().image = image("img@old", None);
    assert_eq!(given.step("app").reason, "it goes back to img@old");
}
