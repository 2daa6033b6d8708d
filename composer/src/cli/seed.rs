//! The verb `seed`: cloud-init's seeds for a fleet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use keelson_common::strict::Source;
use serde_json::json;

use crate::seed::check::{self, Verdict};
use crate::seed::hosts::{self, Host};
use crate::seed::seed;
use crate::seed::template::Template;

/// Make cloud-init's seeds for a fleet, or check user-data
///
/// One template of user-data and a table of hosts become a NoCloud seed for each: DIR/NAME.iso, or a folder
/// that a web server gives to hosts which were booted with ds=nocloud;s=URL/NAME/. In the template `${name}`,
/// `${address}`, `${role}`, `${labels}` and what a host's `set` has are replaced. Everything is checked before
/// anything is written: `keelson:` by its schema, the rest by `cloud-init schema` where cloud-init is installed.
/// cloud-init reads YAML 1.1: what it would take for another value below `keelson:`, as a plain 22:30, is refused.
///
/// What hosts are told may hold secrets, so that images and folders are for you alone (0600, 0700), and are made so
/// again by each run. A web server has to be run as you, or given the folders afterwards, and must serve them to the
/// hosts alone: user-data is asked for without a password, and goes over the network as it is with http.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The table:\n  [[host]]\n  name = \"node1\"\n  address = \"10.0.0.11/24\"    # DHCP without it\n  \
    gateway = \"10.0.0.1\"\n  dns = [\"10.0.0.1\"]\n  role = \"node\"\n  labels = { \"example.com/rack\" = \"a1\" }\n  \
    set = { disk = \"sdb\" }        # ${disk}\n\n\
    Examples:\n  keelson seed --check manifests/examples/node.yaml\n  \
    keelson seed --hosts hosts.toml -o seeds user-data.yaml\n  \
    keelson seed --hosts hosts.toml --folder -o /srv/seeds user-data.yaml"
)]
pub struct Args {
    /// The user-data, or the template of it
    #[arg(value_name = "USER-DATA", required = true)]
    user_data: PathBuf,
    /// The table of hosts
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    hosts: Option<PathBuf>,
    /// Only check
    #[arg(long, conflicts_with_all = ["output", "folder"])]
    check: bool,
    /// Folders for a web server, instead of ISO images; what is in them is secret
    #[arg(long)]
    folder: bool,
    /// Where seeds are written
    #[arg(short, long, value_name = "DIR", default_value = "seeds")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let text = read(&args.user_data)?;
    let template = Template::new(&args.user_data, text.clone());
    let hosts = match &args.hosts {
        Some(path) => table(path)?,
        None => Vec::new(),
    };
    ensure!(args.hosts.is_none() || !hosts.is_empty(), "the table has no host");
    let seeds = hosts.iter().map(|host| Ok(seed(host, &template)?)).collect::<Result<Vec<_>>>()?;
    let mut documents: Vec<(String, &str)> = seeds
        .iter()
        .map(|seed| (format!("{} for {}", args.user_data.display(), seed.hostname), &*seed.user_data))
        .collect();
    if documents.is_empty() {
        documents.push((args.user_data.display().to_string(), &text));
    }
    let whole = judged(&documents)?;
    if args.check {
        return told(&args, whole, &[]);
    }
    fs::create_dir_all(&args.output).with_context(|| format!("cannot make {}", args.output.display()))?;
    let mut made = Vec::new();
    for seed in &seeds {
        let path = match args.folder {
            true => args.output.join(&seed.hostname),
            false => args.output.join(format!("{}.iso", seed.hostname)),
        };
        match args.folder {
            true => seed.write_folder(&path)?,
            false => seed.write(&path)?,
        }
        made.push(path);
    }
    told(&args, whole, &made)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn table(path: &Path) -> Result<Vec<Host>> {
    let source = Source { path: path.to_owned(), text: read(path)? };
    hosts::parse(source).map_err(|problems| {
        anyhow::anyhow!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// Fails when any document is not good; gives whether cloud-init was there to judge too.
fn judged(documents: &[(String, &str)]) -> Result<bool> {
    let mut problems = Vec::new();
    for (name, text) in documents {
        problems.extend(check::ours(text).into_iter().map(|problem| format!("{name}: {problem}")));
    }
    let mut whole = true;
    if problems.is_empty() {
        for (name, text) in documents {
            match check::theirs(text)? {
                Verdict::Good => {}
                Verdict::Bad(said) => problems.push(format!("{name}: {said}")),
                Verdict::Nobody => whole = false,
            }
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(whole)
}

fn told(args: &Args, whole: bool, made: &[PathBuf]) -> Result<ExitCode> {
    if args.json {
        let document = json!({ "checked-by-cloud-init": whole, "seeds": made });
        println!("{document:#}");
        return Ok(ExitCode::SUCCESS);
    }
    for path in made {
        println!("{}", path.display());
    }
    match (made.is_empty(), args.folder) {
        (true, _) => {}
        (false, true) => eprintln!(
            "keelson: these folders may hold secrets, and only you can read them: let the web server in, and have it \
             serve them to the hosts alone"
        ),
        (false, false) => eprintln!("keelson: these images may hold secrets, and only you can read them"),
    }
    if !whole {
        eprintln!(
            "keelson: only `keelson:` was checked: there is no cloud-init here to judge the rest (apt install cloud-init)"
        );
    }
    if args.check {
        println!("{} is good", args.user_data.display());
    }
    Ok(ExitCode::SUCCESS)
}
