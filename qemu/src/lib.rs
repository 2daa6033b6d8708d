//! QEMU machines: a machine as data ([`machine`]) becomes QEMU's arguments by a pure function, and
//! [`vm::Vm`] is one that runs, with its serial console ([`console`]), QEMU's control channel
//! ([`qmp`]) and a channel that runs commands as root in the guest ([`guest`]). A [`resident::Resident`] is one
//! that stays on when the program that started it has ended.
//!
//! ```no_run
//! use std::time::Duration;
//! use keelson_qemu::machine::{Firmware, Format, Machine};
//! use keelson_qemu::vm::Vm;
//!
//! # fn main() -> Result<(), keelson_qemu::Error> {
//! const MINUTES: Duration = Duration::from_secs(300);
//! let mut machine = Machine::new("host.raw", Format::Raw);
//! machine.firmware = Firmware::Uefi;
//! let mut vm = Vm::start(machine)?;
//! vm.wait_ready(MINUTES)?;
//! assert_eq!(vm.exec_ok("systemctl is-system-running --wait", MINUTES)?, "running");
//! vm.reboot(MINUTES)?;
//! vm.kill_power()?;
//! vm.machine_mut().firmware = Firmware::Bios;
//! vm.power_on()?;
//! vm.exec_ok("test -e /run/ostree-booted", MINUTES)?;
//! vm.power_off(MINUTES)?;
//! # Ok(())
//! # }
//! ```

pub mod accel;
pub mod console;
pub mod credential;
mod error;
mod failure;
pub mod guest;
mod layout;
pub mod machine;
mod network;
mod power;
mod process;
pub mod qmp;
pub mod resident;
mod scratch;
pub mod seed;
pub mod ssh;
pub mod version;
pub mod vm;

pub use error::Error;
