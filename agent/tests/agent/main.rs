//! keeld and keelctl against a real sysroot, repository and bus, without a virtual machine.

mod updates;
mod upgrade;
mod verbs;
mod world;
