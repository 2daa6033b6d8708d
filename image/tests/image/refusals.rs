//! What cannot become a disk is refused with a message that helps, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{self, GOOD, NO_KERNEL, World, names};
use keelson_image::{ImageError, ImageRequest, build};

/// Builds over an older image, and checks that it is untouched and nothing else was left.
fn refused(world: &World, request: &ImageRequest) -> ImageError {
    fs::write(&request.output, "older").unwrap();
    let before = world.names();
    let error = build(request, &()).unwrap_err();
    assert_eq!(world.names(), before);
    assert_eq!(fs::read_to_string(&request.output).unwrap(), "older");
    error
}

#[test]
fn unknown_ref_lists_the_known_ones() {
    let world = World::new();
    let mut request = world.request("disk.raw");
    request.rev = "test/godo".to_owned();
    let message = refused(&world, &request).to_string();
    assert!(message.contains("ref test/godo") && message.contains(GOOD), "{message}");
}

#[test]
fn commit_without_kernel_says_what_is_missing() {
    let world = World::new();
    let mut request = world.request("disk.raw");
    request.rev = NO_KERNEL.to_owned();
    let message = refused(&world, &request).to_string();
    assert!(message.contains("/usr/lib/modules/VERSION/vmlinuz"), "{message}");
}

#[test]
fn too_small_a_disk_names_the_least_size_and_that_size_works() {
    let world = World::new();
    let mut request = world.request("disk.raw");
    request.size = Some(32 << 20);
    let ImageError::TooSmall { least, .. } = refused(&world, &request) else { panic!("another error") };
    request.size = Some(least);
    assert_eq!(support::make(&request).virtual_size, least);
}

#[test]
fn keys_that_are_none_are_refused() {
    let world = World::new();
    let mut request = world.request("disk.raw");
    request.trusted_keys = Some(b"not a key".to_vec());
    assert!(matches!(refused(&world, &request), ImageError::Keys(_)));
}

#[test]
fn missing_repository_is_named() {
    let world = World::new();
    let mut request = world.request("disk.raw");
    request.repo = world.path("nowhere");
    let message = refused(&world, &request).to_string();
    assert!(message.contains("nowhere"), "{message}");
}

/// Runs itself again in a mount namespace where the output folder is a small tmpfs.
#[test]
fn full_disk_leaves_nothing() {
    const FOLDER: &str = "KEELSON_TEST_SMALL_FOLDER";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return fill(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", "mount -t tmpfs -o size=6m tmpfs \"$0\" && exec \"$@\""])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "refusals::full_disk_leaves_nothing", "--nocapture"])
        .env(FOLDER, folder.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

fn fill(folder: &Path) {
    let world = World::new();
    // The repository is too small to fill the folder, so something else takes most of it.
    fs::write(folder.join("other"), vec![1; 5 << 20]).unwrap();
    let mut request = world.request("disk.raw");
    request.output = folder.join("disk.raw");
    request.scratch = Some(folder.to_owned());
    let error = build(&request, &()).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let message = format!("{error}: {cause}");
    assert!(message.contains("space"), "{message}");
    assert_eq!(names(folder), ["other"]);
}
