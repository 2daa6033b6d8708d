//! Shows the processes of a container with the host's `ps`.

use std::collections::HashSet;
use std::process::{Output, Stdio};

use bollard::models::ContainerTopResponse;

use super::Engine;
use super::container::Container;
use crate::error::{Error, Result};

impl Engine {
    /// The processes of a container, in the columns that `ps` shows for `arguments` (`-ef`).
    pub async fn top(&self, container: &Container, arguments: &str) -> Result<ContainerTopResponse> {
        if !container.state().status.alive() {
            return Err(Error::Conflict(format!("container {} is not running", container.id())));
        }
        let pids = self.tasks.pids(container.id()).await?;
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let list: Vec<String> = pids.iter().map(u32::to_string).collect();
        let these = format!("-q{}", list.join(","));
        let mut output = ps(arguments.iter().copied().chain([these.as_str()])).await?;
        if !output.status.success() {
            // Some arguments go with a list of processes, others do not.
            output = ps(arguments.iter().copied()).await?;
        }
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
            return Err(Error::Invalid(format!("ps: {why}")));
        }
        parse(&String::from_utf8_lossy(&output.stdout), &pids)
    }
}

async fn ps(arguments: impl Iterator<Item = &str>) -> Result<Output> {
    let mut command = tokio::process::Command::new("ps");
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.output().await.map_err(|error| Error::failed("run ps (package procps)", error))
}

/// The lines about `pids`. The last column, the command, may have spaces.
fn parse(text: &str, pids: &HashSet<u32>) -> Result<ContainerTopResponse> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| Error::Invalid("Couldn't find PID field in ps output".to_owned()))?;
    let process = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let pid = fields.get(column)?.parse().ok()?;
        let last = titles.len() - 1;
        let mut row: Vec<String> = fields.iter().take(last).map(|field| (*field).to_owned()).collect();
        row.push(fields.get(last..).unwrap_or_default().join(" "));
        pids.contains(&pid).then_some(row)
    };
    let processes = lines.filter_map(process).collect();
    Ok(ContainerTopResponse { titles: Some(titles), processes: Some(processes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_processes() {
        let text = "UID   PID CMD\nroot    7 sleep 10\nroot    8 other\n";
        let top = parse(text, &HashSet::from([7])).unwrap();
        assert_eq!(top.titles.unwrap(), ["UID", "PID", "CMD"]);
        assert_eq!(top.processes.unwrap(), [["root", "7", "sleep 10"]]);
    }

    #[test]
    fn columns_without_a_process() {
        assert!(parse("UID CMD\nroot x\n", &HashSet::new()).is_err());
    }
}
