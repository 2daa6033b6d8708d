//! The shipped hosts in virtual machines. A boot takes the better part of a minute where there is
//! no KVM, so every machine walks through many checks; two tests run at once on two cores;
//! that of a whole cluster is run alone.

mod vm_cluster;
mod vm_containers;
mod vm_host;
mod vm_minimal;
mod vm_node;
mod vm_power;
mod vm_refusals;
mod vm_seed;
mod vm_upgrade;
