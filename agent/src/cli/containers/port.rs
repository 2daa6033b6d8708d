//! `keelctl port`.

use std::process::ExitCode;

use bollard::models::{ContainerInspectResponse, PortBinding, PortMap};

use super::Context;
use super::client::Target;
use super::common::{document, text_block};

/// Show where the ports of a container are published
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  keelctl port web\n  keelctl port web 80/tcp")]
pub struct Args {
    /// The container
    container: String,
    /// Only this port of it
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

/// Runs the verb.
pub async fn run(args: Args, context: &Context) -> anyhow::Result<ExitCode> {
    let found: ContainerInspectResponse = context.client.get(&Target::container(&args.container, "json")).await?;
    let ports = found.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    if context.json {
        return document(&ports);
    }
    match args.port {
        None => text_block(&all(&ports)),
        Some(port) => match of(&ports, &port) {
            text if text.is_empty() => {
                anyhow::bail!("Error: No public port '{}' published for {}", port, args.container)
            }
            text => text_block(&text),
        },
    }
}

fn whole(port: &str) -> String {
    if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") }
}

fn place(binding: &PortBinding) -> String {
    let (address, port) = (binding.host_ip.as_deref().unwrap_or_default(), binding.host_port.as_deref());
    let address = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    format!("{address}:{}", port.unwrap_or_default())
}

fn of(ports: &PortMap, port: &str) -> String {
    let bindings = ports.get(&whole(port)).and_then(Option::as_ref);
    bindings.into_iter().flatten().map(|binding| format!("{}\n", place(binding))).collect()
}

fn all(ports: &PortMap) -> String {
    let mut lines: Vec<(u16, String)> = Vec::new();
    for (port, bindings) in ports {
        let number = port.split('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let bindings = bindings.iter().flatten();
        lines.extend(bindings.map(|binding| (number, format!("{port} -> {}\n", place(binding)))));
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports() {
        let binding = |ip: &str, port: &str| PortBinding { host_ip: Some(ip.into()), host_port: Some(port.into()) };
        let ports = PortMap::from([
            ("443/tcp".to_owned(), Some(vec![binding("0.0.0.0", "8443")])),
            ("80/tcp".to_owned(), Some(vec![binding("0.0.0.0", "8080"), binding("::", "8080")])),
            ("90/udp".to_owned(), None),
        ]);
        assert_eq!(all(&ports), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n443/tcp -> 0.0.0.0:8443\n");
        assert_eq!(of(&ports, "80"), "0.0.0.0:8080\n[::]:8080\n");
        assert_eq!(of(&ports, "90/udp"), "");
    }
}
