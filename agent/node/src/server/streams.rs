//! Owns asking containerd where a stream into a container is to be had: exec, attach, port forwarding.

use std::sync::Arc;

use super::address::Address;
use super::reply::{self, Refusal, Response};
use super::route::Named;
use crate::context::Context;
use crate::cri::v1::{self, ContainerState};
use crate::pods::PodView;

/// Which streams, as the query says: `input`, `output`, `error`, `tty`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Streams {
    fn parse(address: &Address) -> Result<Self, Refusal> {
        let on = |name| address.value(name) == Some("1");
        let tty = on("tty");
        // A terminal has one stream of output.
        let streams = Self { stdin: on("input"), stdout: on("output"), stderr: on("error") && !tty, tty };
        if !streams.stdin && !streams.stdout && !streams.stderr {
            return Err(Refusal::bad("you must specify at least 1 of stdin, stdout, stderr"));
        }
        Ok(streams)
    }
}

/// Where to run a command.
pub(super) async fn exec(context: &Context, named: Named<'_>, address: &Address) -> Result<String, Refusal> {
    let Streams { stdin, stdout, stderr, tty } = Streams::parse(address)?;
    let container_id = container(context, named)?;
    let cmd = address.values("command").map(str::to_owned).collect();
    let request = v1::ExecRequest { container_id, cmd, tty, stdin, stdout, stderr };
    Ok(context.cri.exec(request).await?.url)
}

/// Where to attach to a container.
pub(super) async fn attach(context: &Context, named: Named<'_>, address: &Address) -> Result<String, Refusal> {
    let Streams { stdin, stdout, stderr, tty } = Streams::parse(address)?;
    let container_id = container(context, named)?;
    let request = v1::AttachRequest { container_id, tty, stdin, stdout, stderr };
    Ok(context.cri.attach(request).await?.url)
}

/// Where to forward ports.
pub(super) async fn port_forward(context: &Context, named: Named<'_>, address: &Address) -> Result<String, Refusal> {
    let port = ports(address)?;
    let view = pod(context, named)?;
    let missing = || Refusal::not_found(format!("pod not found ({:?})", format!("{}_{}", named.pod, named.namespace)));
    let pod_sandbox_id = view.sandbox.clone().ok_or_else(missing)?;
    Ok(context.cri.port_forward(v1::PortForwardRequest { pod_sandbox_id, port }).await?.url)
}

/// Runs a command to its end and answers with its output.
pub(super) async fn run(context: &Context, named: Named<'_>, address: &Address) -> Result<Response, Refusal> {
    let id = container(context, named)?;
    let command = address.value("cmd").unwrap_or_default().split(' ').map(str::to_owned).collect();
    let mut answer = context.cri.exec_sync(&id, command, 0).await?;
    if answer.exit_code != 0 {
        let output = String::from_utf8_lossy(&answer.stderr);
        return Err(Refusal::internal(format!("command exited with {}: {output}", answer.exit_code)));
    }
    answer.stdout.append(&mut answer.stderr);
    Ok(reply::json(answer.stdout))
}

/// The ports of `port=1&port=2,3`: those who ask by websocket say beforehand.
fn ports(address: &Address) -> Result<Vec<i32>, Refusal> {
    let ports = address.values("port").flat_map(|list| list.split(','));
    let ports = ports.map(|port| {
        let number = port.parse::<u16>().ok().filter(|number| *number > 0);
        number.map(i32::from).ok_or_else(|| Refusal::bad(format!("unable to parse {port:?} as a port")))
    });
    ports.collect()
}

fn pod(context: &Context, named: Named<'_>) -> Result<Arc<PodView>, Refusal> {
    let view = context.pods.by_name(named.namespace, named.pod);
    let view = view.ok_or_else(|| Refusal::not_found("pod does not exist"))?;
    if named.uid.is_some_and(|uid| !uid.is_empty() && uid != view.uid()) {
        return Err(Refusal::not_found("pod not found"));
    }
    Ok(view)
}

/// The id of the running container of that name.
fn container(context: &Context, named: Named<'_>) -> Result<String, Refusal> {
    let view = pod(context, named)?;
    let running = view.container(named.container).filter(|found| found.state == ContainerState::ContainerRunning);
    let running = running.map(|container| container.id.clone());
    running.ok_or_else(|| Refusal::internal(format!("container not found ({:?})", named.container)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(query: &str) -> Address {
        Address::parse(&format!("/x?{query}").parse().expect("an address")).expect("UTF-8")
    }

    #[test]
    fn a_terminal_has_one_output() {
        let streams = Streams::parse(&address("input=1&output=1&error=1&tty=1"));
        assert_eq!(streams, Ok(Streams { stdin: true, stdout: true, stderr: false, tty: true }));
        let streams = Streams::parse(&address("output=1&error=1"));
        assert_eq!(streams, Ok(Streams { stdin: false, stdout: true, stderr: true, tty: false }));
    }

    #[test]
    fn some_stream_there_must_be() {
        assert!(Streams::parse(&address("command=ls")).is_err());
        assert!(Streams::parse(&address("error=1&tty=1")).is_err());
    }

    #[test]
    fn ports_are_read() {
        assert_eq!(ports(&address("port=80&port=1,2")), Ok(vec![80, 1, 2]));
        assert_eq!(ports(&address("")), Ok(Vec::new()));
        assert!(ports(&address("port=x")).is_err());
        assert!(ports(&address("port=0")).is_err());
    }
}
