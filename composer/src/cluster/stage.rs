//! Owns how far a machine is on its way from power-on to Ready, from what was seen of it.

use serde_json::Value;

use super::nodes::Node;
use super::plan::Role;

/// What was seen of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether its console shows cloud-init at work.
    pub begun: bool,
    /// Whether its SSH answers, which it does only once cloud-init has made its users.
    pub ssh: bool,
    /// What cloud-init says of itself.
    pub cloud_init: Option<CloudInit>,
    /// Whether the cluster's API server answers.
    pub api: bool,
    /// It as the API has it.
    pub node: Option<Node>,
}

/// What `cloud-init status --format json` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudInit {
    /// `running`, `done`, `error`, ...
    pub status: String,
    /// What went wrong.
    pub errors: Vec<String>,
}

impl CloudInit {
    /// Reads the document.
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let errors = value["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
        Some(Self { status: value["status"].as_str()?.to_owned(), errors: errors.collect() })
    }

    /// Whether it has done what it does at boot, well or not.
    pub fn ended(&self) -> bool {
        !matches!(&*self.status, "running" | "not started" | "not run")
    }
}

/// Whether a serial console shows that cloud-init is at work.
pub fn cloud_init_begun(console: &str) -> bool {
    console.contains("Cloud-init v.")
}

/// How far a machine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Firmware, kernel, the first services.
    Booting,
    /// It does what user-data says.
    CloudInit,
    /// The part of user-data is done, with these errors; the cluster is waited for.
    Waiting(Vec<String>),
    /// The API server of a master answers, and does not have the master's own node yet.
    Answers,
    /// The cluster has it, and says why it is not ready.
    Joined(Option<String>),
    /// Done.
    Ready,
}

/// The stage of a machine.
pub fn stage(role: Role, seen: &Seen) -> Stage {
    if let Some(node) = &seen.node {
        return if node.ready { Stage::Ready } else { Stage::Joined(node.reason.clone()) };
    }
    let answers = role == Role::Master && seen.api;
    match (&seen.cloud_init, seen.ssh || seen.begun) {
        (Some(cloud_init), _) if cloud_init.ended() && !(answers && cloud_init.errors.is_empty()) => {
            Stage::Waiting(cloud_init.errors.clone())
        }
        _ if answers => Stage::Answers,
        (None, false) => Stage::Booting,
        _ => Stage::CloudInit,
    }
}

impl Stage {
    /// What a person sees.
    pub fn text(&self, role: Role) -> String {
        match (self, role) {
            (Self::Booting, _) => "booting".to_owned(),
            (Self::CloudInit, _) => "cloud-init".to_owned(),
            (Self::Waiting(errors), _) if !errors.is_empty() => format!("cloud-init: {}", errors.join("; ")),
            (Self::Waiting(_), Role::Master) => "starting the control plane".to_owned(),
            (Self::Waiting(_), Role::Node) => "joining".to_owned(),
            (Self::Answers, _) => "the API server answers; joining as a node".to_owned(),
            (Self::Joined(Some(reason)), _) => format!("joined; not Ready: {reason}"),
            (Self::Joined(None), _) => "joined".to_owned(),
            (Self::Ready, _) => "Ready".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cloud_init(status: &str) -> Option<CloudInit> {
        CloudInit::parse(&format!("{{\"status\": \"{status}\", \"errors\": []}}"))
    }

    #[test]
    fn a_node_goes_from_stage_to_stage() {
        let mut seen = Seen::default();
        assert_eq!(stage(Role::Node, &seen), Stage::Booting);
        seen.begun =
            cloud_init_begun("[  OK  ] Reached target network-pre.target\nCloud-init v. 25.1.4 running 'init'");
        assert_eq!(stage(Role::Node, &seen), Stage::CloudInit);
        seen.ssh = true;
        assert_eq!(stage(Role::Node, &seen), Stage::CloudInit);
        seen.cloud_init = cloud_init("running");
        assert_eq!(stage(Role::Node, &seen), Stage::CloudInit);
        seen.cloud_init = cloud_init("done");
        assert_eq!(stage(Role::Node, &seen).text(Role::Node), "joining");
        // The API alone makes no node.
        seen.api = true;
        assert_eq!(stage(Role::Node, &seen).text(Role::Node), "joining");
        let node = Node { name: "n".into(), ready: false, reason: Some("no CNI".into()), cordoned: false, boot: None };
        seen.node = Some(node.clone());
        assert_eq!(stage(Role::Node, &seen).text(Role::Node), "joined; not Ready: no CNI");
        seen.node = Some(Node { ready: true, ..node });
        assert_eq!(stage(Role::Node, &seen), Stage::Ready);
    }

    #[test]
    fn a_master_is_ready_when_its_own_node_is() {
        let mut seen = Seen { ssh: true, cloud_init: cloud_init("done"), ..Seen::default() };
        assert_eq!(stage(Role::Master, &seen).text(Role::Master), "starting the control plane");
        seen.api = true;
        assert_eq!(stage(Role::Master, &seen), Stage::Answers);
        // Somebody would wait for a node that does not come.
        let failed = r#"{"status": "error", "errors": ["refused"]}"#;
        let failed = Seen { cloud_init: CloudInit::parse(failed), ..seen.clone() };
        assert_eq!(stage(Role::Master, &failed).text(Role::Master), "cloud-init: refused");
        let node = Node { name: "m".into(), ready: false, reason: None, cordoned: false, boot: None };
        seen.node = Some(node.clone());
        assert_eq!(stage(Role::Master, &seen), Stage::Joined(None));
        seen.node = Some(Node { ready: true, ..node });
        assert_eq!(stage(Role::Master, &seen), Stage::Ready);
    }

    #[test]
    fn errors_of_cloud_init_are_shown() {
        let text = r#"{"status": "error", "errors": ["no such user"], "extended_status": "error - done"}"#;
        let seen = Seen { ssh: true, cloud_init: CloudInit::parse(text), ..Seen::default() };
        assert_eq!(stage(Role::Node, &seen).text(Role::Node), "cloud-init: no such user");
        assert_eq!(CloudInit::parse("cloud-init: command not found"), None);
    }
}
