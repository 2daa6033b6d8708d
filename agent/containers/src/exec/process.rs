//! Decides what a further process in a container is: the container's own process with what was asked
//! in its place.

use std::collections::HashSet;

use bollard::models::ExecConfig;
use oci_spec::runtime::{BoxBuilder, Capability, Process, User};

use crate::engine::spec::{Identity, held};
use crate::error::Error;

/// What is looked up for a process.
#[derive(Debug)]
pub struct Facts {
    /// Who it is; none is who the container's process is.
    pub identity: Option<Identity>,
    /// All capabilities there are, when it is to have them.
    pub all: Option<HashSet<Capability>>,
    /// Height and width of its terminal.
    pub size: Option<(u64, u64)>,
}

/// The process that `asked` describes, in the container whose process `own` is.
pub fn build(mut own: Process, asked: &ExecConfig, facts: Facts) -> Process {
    let tty = asked.tty.unwrap_or(false);
    if let Some(identity) = facts.identity {
        let mut user = User::default();
        user.set_uid(identity.uid).set_gid(identity.gid).set_additional_gids(Some(identity.groups));
        own.set_user(user);
    }
    let bounding = own.capabilities().as_ref().and_then(|held| held.bounding().clone()).unwrap_or_default();
    if facts.all.is_some() {
        own.set_no_new_privileges(Some(false));
    }
    own.set_capabilities(Some(held(&facts.all.unwrap_or(bounding), own.user().uid())));
    own.set_env(Some(environment(
        own.env().clone().unwrap_or_default(),
        asked.env.as_deref().unwrap_or_default(),
        tty,
    )));
    own.set_args(asked.cmd.clone());
    own.set_terminal(Some(tty));
    if let Some(folder) = asked.working_dir.as_deref().filter(|folder| !folder.is_empty()) {
        own.set_cwd(folder.into());
    }
    let size = facts
        .size
        .filter(|_| tty)
        .and_then(|(height, width)| BoxBuilder::default().height(height).width(width).build().ok());
    own.set_console_size(size);
    own
}

/// The container's variables, with what was asked in the place of those of the same name.
fn environment(mut own: Vec<String>, asked: &[String], tty: bool) -> Vec<String> {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    if tty && !own.iter().any(|entry| entry.starts_with("TERM=")) {
        own.push("TERM=xterm".to_owned());
    }
    for entry in asked {
        own.retain(|known| name(known) != name(entry));
        // A name alone takes the variable away.
        own.extend(entry.contains('=').then(|| entry.clone()));
    }
    own
}

/// What a shell would have made of a program that cannot be started, and the error as the runtime
/// says it.
pub fn failure(error: Error) -> (i64, Error) {
    let text = error.to_string();
    let text = text.find("OCI runtime exec failed").map_or(text.as_str(), |start| &text[start..]).to_owned();
    let lower = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let code = if has(&["executable file", "no such file or directory"]) && has(&["not found", "no such file"]) {
        127
    } else if has(&["permission denied", "is a directory", "not a directory", "exec format error"]) {
        126
    } else {
        // Docker's word for what it knows no better of.
        return (128, error);
    };
    (code, Error::Invalid(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Process {
        let mut own = Process::default();
        own.set_env(Some(["PATH=/bin", "A=1", "B=2"].map(str::to_owned).to_vec()));
        own.set_capabilities(Some(held(&HashSet::from([Capability::Chown]), 0)));
        own
    }

    fn nothing() -> Facts {
        Facts { identity: None, all: None, size: Some((24, 80)) }
    }

    #[test]
    fn what_is_not_asked_is_the_containers() {
        let asked = ExecConfig { cmd: Some(vec!["ls".to_owned()]), ..ExecConfig::default() };
        let process = build(own(), &asked, nothing());
        assert_eq!(process.args(), &Some(vec!["ls".to_owned()]));
        assert_eq!((process.env(), process.cwd(), process.user()), (own().env(), own().cwd(), own().user()));
        assert_eq!(process.console_size(), None, "no terminal, no size");
        assert_eq!(process.capabilities(), own().capabilities());
    }

    #[test]
    fn what_is_asked_takes_its_place() {
        let asked = ExecConfig {
            env: Some(["A=9", "B", "C=3"].map(str::to_owned).to_vec()),
            tty: Some(true),
            working_dir: Some("/tmp".to_owned()),
            ..ExecConfig::default()
        };
        let identity = Identity { uid: 1000, gid: 50, groups: vec![50], home: None };
        let process = build(own(), &asked, Facts { identity: Some(identity), ..nothing() });
        let env = process.env().clone().unwrap();
        assert_eq!(env, ["PATH=/bin", "TERM=xterm", "A=9", "C=3"]);
        assert_eq!((process.user().uid(), process.user().gid()), (1000, 50));
        assert_eq!(process.cwd(), std::path::Path::new("/tmp"));
        assert_eq!(process.console_size().map(|size| (size.height(), size.width())), Some((24, 80)));
        let capabilities = process.capabilities().clone().unwrap();
        assert_eq!(capabilities.bounding(), &Some(HashSet::from([Capability::Chown])));
        assert_eq!(capabilities.effective(), &Some(HashSet::new()), "a user has none at once");
    }

    #[test]
    fn privileged_has_all() {
        let all = HashSet::from([Capability::Chown, Capability::SysAdmin]);
        let process = build(own(), &ExecConfig::default(), Facts { all: Some(all.clone()), ..nothing() });
        assert_eq!(process.capabilities().clone().unwrap().effective(), &Some(all));
    }

    #[test]
    fn programs_that_cannot_be_started_have_codes() {
        let code = |text: &str| {
            failure(Error::Failed(format!("rpc: OCI runtime exec failed: exec failed: {text}: unknown"))).0
        };
        assert_eq!(code("unable to start container process: exec: \"nope\": executable file not found in $PATH"), 127);
        assert_eq!(code("executable file `nope` not found in $PATH: No such file or directory"), 127);
        assert_eq!(code("unable to start container process: exec: \"/etc/passwd\": permission denied"), 126);
        assert_eq!(code("exec: \"/\": is a directory"), 126);
        assert_eq!(code("cannot allocate memory"), 128);
        let (_, error) = failure(Error::Failed("task: OCI runtime exec failed: \"x\": permission denied".to_owned()));
        assert_eq!(error.to_string(), "OCI runtime exec failed: \"x\": permission denied");
    }
}
