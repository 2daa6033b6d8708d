//! The verb `image`: a commit becomes a disk.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use keelson_image::{Format, ImageReport, ImageRequest};

use crate::commit::signing;
use crate::progress::DiskSteps;
use crate::settings;

/// Make a bootable disk of a commit
///
/// Deploys the commit into a new disk with a BIOS boot partition, an EFI system partition and an ext4
/// root that grows to the disk at first boot. The same disk boots on BIOS and on UEFI; libostree's
/// entries are in the boot menu, on screen and serial console. The host follows REF on its remote
/// `keelson` from then on, and accepts updates signed by the trusted keys only.
///
/// Nothing is mounted. Partition and file system identifiers follow from the commit, so the same
/// commit gives the same layout. Without --size the disk has room for one more deployment of the same
/// size and 512 MiB of data. An older file of the output's name is replaced once the new one is whole.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  keelson image keelson/host/amd64\n  \
    keelson image --size 20G -o host.qcow2 keelson/host/amd64\n  \
    keelson image --remote-url https://example.org/repo --key release.asc keelson/host/amd64\n  \
    keelson image --json keelson/host/amd64 | jq -r .path\n\n\
    Environment:\n  KEELSON_GNUPGHOME    GnuPG home whose public keys are trusted (default ~/.config/keelson/gnupg)\n\n\
    Takes root. Without it, where /etc/subuid has a range for you:\n  \
    unshare --map-root-user --map-auto keelson image ...")]
pub struct Args {
    /// The repository that holds the commit
    #[arg(long, value_name = "DIR", default_value = super::DEFAULT_REPO)]
    repo: PathBuf,
    /// What the image file is written as [default: qcow2 where the output's name ends in .qcow2, else raw]
    #[arg(long, value_name = "FORMAT", value_parser = ["raw", "qcow2"])]
    format: Option<String>,
    /// The image file [default: REF-VERSION.FORMAT in the current folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Size of the disk: bytes, or a number with K, M, G or T (powers of 1024)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    size: Option<u64>,
    /// Deploy this commit instead of the one REF points at
    #[arg(long, value_name = "CHECKSUM")]
    commit: Option<String>,
    /// Where the host updates from [default: the manifest's update-url]
    #[arg(long, value_name = "URL")]
    remote_url: Option<String>,
    /// Trust the OpenPGP public keys in this file, binary or armoured (may be repeated) [default: the
    /// signing key of this machine]
    #[arg(long = "key", value_name = "FILE", conflicts_with = "no_key")]
    keys: Vec<PathBuf>,
    /// Trust no key: the host refuses updates until it is given one
    #[arg(long)]
    no_key: bool,
    /// Add a kernel argument (may be repeated)
    #[arg(long = "karg", value_name = "KEY[=VALUE]")]
    kargs: Vec<String>,
    /// Folder for scratch files of the deployment's size [default: memory when there is plenty, else the
    /// output's folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Derive the disk's identifiers from this text instead of the commit, for disks that must differ
    #[arg(long, value_name = "TEXT")]
    seed: Option<String>,
    /// Print one JSON document: path, sizes, checksum, layout, identifiers, time of each step
    #[arg(long)]
    json: bool,
    /// The ref, `keelson/host/amd64`
    #[arg(value_name = "REF")]
    reference: String,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<ExitCode> {
    let json = args.json;
    let request = request(args)?;
    let report = keelson_image::build(&request, &DiskSteps::default())
        .with_context(|| format!("no image of {} was made", request.rev))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        tell(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn request(args: Args) -> Result<ImageRequest> {
    let mut request = ImageRequest::new(args.repo, args.reference, "");
    request.format = format(args.format.as_deref(), args.output.as_deref());
    request.commit = args.commit;
    request.size = args.size;
    request.remote_url = args.remote_url;
    request.trusted_keys = if args.no_key { None } else { Some(trusted_keys(&args.keys)?) };
    request.extra_kargs = args.kargs;
    request.scratch = args.scratch;
    request.ids = args.seed.map(|seed| keelson_image::DiskIds::derive(&seed));
    request.output = match args.output {
        Some(output) => output,
        None => keelson_image::file_name(&request)?.into(),
    };
    Ok(request)
}

/// What was asked for, or what the output's name says.
fn format(asked: Option<&str>, output: Option<&Path>) -> Format {
    let named = output.and_then(Path::extension).and_then(OsStr::to_str);
    if asked.or(named) == Some("qcow2") { Format::Qcow2 } else { Format::Raw }
}

/// The keys in `files`, or this machine's own.
fn trusted_keys(files: &[PathBuf]) -> Result<Vec<u8>> {
    if files.is_empty() {
        let home = settings::gnupg_home();
        let keys = if home.is_dir() { signing::public_keys(&home)? } else { Vec::new() };
        if keys.is_empty() {
            bail!("there is no key in {}; name the keys to trust with --key, or none with --no-key", home.display());
        }
        return Ok(keys);
    }
    let mut keys = Vec::new();
    for file in files {
        keys.extend(fs::read(file).with_context(|| format!("cannot read the key {}", file.display()))?);
    }
    Ok(keys)
}

fn tell(report: &ImageReport) {
    let mib = |bytes: u64| bytes >> 20;
    let version = report.version.as_deref().unwrap_or("without a version");
    println!("{} is {} {version}, commit {}", report.path.display(), report.reference, report.checksum);
    println!("disk {} MiB, file {} MiB", mib(report.virtual_size), mib(report.bytes_on_disk));
    match &report.remote_url {
        Some(url) => println!("updates from {url}"),
        None => println!("updates from nowhere yet: no --remote-url was given and the manifest names none"),
    }
}

/// `8G` and the like, in bytes.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        unit => return Err(format!("{unit:?} is no unit; use K, M, G or T")),
    };
    let number: u64 = digits.parse().map_err(|_| "a size is a whole number and a unit, as in 8G".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is more than a disk can hold".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_format_and_a_word_more() {
        let of = |asked: Option<&str>, output: &str| format(asked, Some(Path::new(output))) == Format::Qcow2;
        assert!(of(None, "host.qcow2") && of(Some("qcow2"), "host.img"));
        assert!(!of(None, "host.raw") && !of(Some("raw"), "host.qcow2") && format(None, None) == Format::Raw);
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("8G"), Ok(8 << 30));
        assert_eq!(parse_size("512MiB"), Ok(512 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in ["", "G", "8X", "1.5G", "99999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
