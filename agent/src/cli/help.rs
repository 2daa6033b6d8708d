//! Owns the overview that `keelctl --help` gives: the verbs by what they are about.

use std::collections::HashSet;
use std::fmt::Write;

use clap::{Command, Subcommand};

use super::{containers, node};

/// Has the help of `command` list its verbs in groups.
pub fn grouped(command: Command) -> Command {
    let of_containers = containers::Verb::augment_subcommands(Command::new(""));
    let of_containers: HashSet<&str> = of_containers.get_subcommands().map(Command::get_name).collect();
    let group = |name: &str| match name {
        name if containers::IMAGE_VERBS.contains(&name) => 2,
        name if node::VERBS.contains(&name) => 3,
        name if of_containers.contains(name) => 1,
        _ => 0,
    };
    let mut groups = ["Host:\n", "Containers:\n", "Images:\n", "Cluster:\n"].map(String::from);
    for verb in command.get_subcommands() {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(groups[group(verb.get_name())], "  {:<12} {about}", verb.get_name());
    }
    let [host, of_containers, images, cluster] = groups;
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{of_containers}\n{images}\n{cluster}\n{host}\nOptions:\n{{options}}{{after-help}}"
    ))
}
