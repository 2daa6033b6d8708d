//! Owns working without syncs. libostree freezes and syncs the whole file system it deploys to, and
//! e2fsprogs sync what they write: right on a host, but on a build machine it stops everybody's writes
//! and waits for everybody's data, for files that can be made again. As `systemd-nspawn
//! --suppress-sync` does, a seccomp filter answers those calls with success.
//!
//! The filter holds for one thread, what it starts, and threads that GLib makes for it and keeps for
//! later calls: a program that makes disks must not count on GLib's threads for durability afterwards.

use std::collections::BTreeMap;
use std::thread;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// `FIFREEZE` and `FITHAW` of linux/fs.h.
const FREEZE_AND_THAW: [u64; 2] = [0xc004_5877, 0xc004_5878];
const SYNCS: [i64; 5] =
    [libc::SYS_sync, libc::SYS_syncfs, libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range];

/// Runs `work` in a thread where syncing, freezing and thawing file systems do nothing. Where the
/// kernel has no seccomp, `work` is only slower.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            if let Err(error) = suppress() {
                tracing::info!("syncs cannot be suppressed: {error}");
            }
            work()
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn suppress() -> Result<(), seccompiler::Error> {
    apply_filter(&program()?)
}

fn program() -> Result<BpfProgram, BackendError> {
    let request = |number: u64| {
        SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, number)?])
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = SYNCS.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_ioctl, FREEZE_AND_THAW.into_iter().map(request).collect::<Result<_, _>>()?);
    let (otherwise, matched) = (SeccompAction::Allow, SeccompAction::Errno(0));
    SeccompFilter::new(rules, otherwise, matched, std::env::consts::ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::{fsync, syncfs};

    #[test]
    fn syncs_succeed_without_being_done() {
        // /dev/null cannot be synced: the kernel says EINVAL, the filter says it is done.
        let read = File::open("/dev/null").unwrap();
        assert!(fsync(&read).is_err());
        let inside = super::run(|| (fsync(&read), syncfs(&read), File::open("/").map(drop).is_ok()));
        assert_eq!(inside, (Ok(()), Ok(()), true));
        assert!(fsync(&read).is_err());
    }
}
