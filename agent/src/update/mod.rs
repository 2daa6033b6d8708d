//! When a host goes over to a new version by itself, and how it does so without harm to the fleet that it is
//! of. Everything here but [`fleetlock`] is pure; `keelctl updates` acts by it.
//!
//! ```text
//! boot ──> an attempt of an earlier boot left over?
//!            │no            │yes
//!            │              ├─ not healthy ──> AwaitHealth
//!            │              └─ healthy ──────> GiveBack: uncordon, release the lock
//!            v
//!          policy manual ──> Rest
//!            v
//!          a check is due ──> Check: ask keeld, have it stage what is newer and was neither given up nor rolled
//!            │                       back from, or drop what is staged and was withdrawn
//!            v
//!          nothing staged that is to be booted ──> Wait for the next check
//!            v
//!          not its turn, or no window open ──> Wait
//!            v
//!          Lock ──refused──> Wait, and again
//!            v
//!          Drain ──too slow──> GiveBack, Wait, and again
//!            v
//!          Reboot
//! ```
//!
//! [`decide::next`] finds the step from what is seen alone, so that it matters nowhere when the agent was
//! ended: an attempt is written to [`state::State`] before anything is asked of others, everything that is
//! asked may be asked twice, and what an attempt took is given back by whoever finds it.
//!
//! - [`settings`]: what the host was told, validated
//! - [`state`]: what must outlive a reboot
//! - [`decide`], [`window`], [`spread`], [`withdrawn`]: what to do next, and when
//! - [`fleetlock`], [`identity`]: the reboot lock of a fleet, and as whom it is asked for

pub mod decide;
pub mod fleetlock;
pub mod identity;
pub mod settings;
pub mod spread;
pub mod state;
pub mod window;
pub mod withdrawn;

pub use decide::{Observed, Step, next};
pub use settings::{Lock, Settings};
pub use state::State;
