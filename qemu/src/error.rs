//! Owns the one error type of this crate.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use keelson_common::command::CommandError;

/// Why a machine could not be started, or what went wrong while it ran.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be used.
    #[error("cannot {what} {}", .path.display())]
    Io {
        /// What was tried, `read`.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why the kernel refused.
        source: io::Error,
    },
    /// A helper program failed.
    #[error("{what}")]
    Command {
        /// What the program was run for.
        what: &'static str,
        /// The program's own failure.
        source: CommandError,
    },
    /// QEMU is not installed, or too old for what was asked.
    #[error("{0}")]
    Unusable(String),
    /// A setting of the machine makes no sense.
    #[error("{0}")]
    Setting(String),
    /// QEMU ended before or while the guest was to do something.
    #[error("QEMU ended ({status}) while {doing}{}", tail(.output))]
    Ended {
        /// How the process ended.
        status: ExitStatus,
        /// What was being waited for.
        doing: String,
        /// The end of QEMU's own messages, or of the console where it had none.
        output: String,
    },
    /// The guest said on its console that it cannot go on.
    #[error("the guest failed while {doing}: {line}{}", tail(.console))]
    Failed {
        /// What was being waited for.
        doing: String,
        /// The line that says so.
        line: String,
        /// The end of the console.
        console: String,
    },
    /// Something did not happen in time.
    #[error("no {what} within {} s{}", .limit.as_secs(), tail(.output))]
    Timeout {
        /// What was waited for, to follow "no".
        what: String,
        /// The time given.
        limit: Duration,
        /// The end of what was printed until then.
        output: String,
    },
    /// A command in the guest failed.
    #[error("`{command}` failed in the guest (exit status {status}){}", tail(.output))]
    Exit {
        /// The command.
        command: String,
        /// Its exit status.
        status: i32,
        /// The end of its standard error, or of its output where that is empty.
        output: String,
    },
    /// The guest restarted while a command ran in it.
    #[error("the guest restarted while `{command}` ran in it{}", tail(.console))]
    Restarted {
        /// The command.
        command: String,
        /// The end of its console.
        console: String,
    },
    /// The command channel's end in the guest was started anew, the guest was not.
    #[error("the guest's command channel was restarted before `{command}` ended: see its keelson-guest.service{}", tail(.console))]
    ChannelRestarted {
        /// The command.
        command: String,
        /// The end of the guest's console, which shows if the kernel was out of memory.
        console: String,
    },
    /// The guest's command channel is closed: the machine is off.
    #[error("the machine went off while {doing}")]
    Off {
        /// What was being done.
        doing: String,
    },
    /// QMP refused a command.
    #[error("QEMU refused `{command}`: {reason}")]
    Qmp {
        /// The QMP command.
        command: String,
        /// QEMU's description.
        reason: String,
    },
    /// QMP did not answer as its protocol says.
    #[error("QMP: {0}")]
    Protocol(String),
}

impl Error {
    /// For `map_err`: says what was tried on which path.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

fn tail(output: &str) -> String {
    output.trim_end().lines().map(|line| format!("\n  | {}", line.trim_end())).collect()
}
