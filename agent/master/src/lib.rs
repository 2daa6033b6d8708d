//! The master of a Kubernetes cluster on a Keelson host. The servers are upstream's and etcd's, run by
//! systemd; this is what they need besides.
//!
//! ```text
//! /etc/keelson/master.toml ─> setup ─> keys, certificates, kubeconfigs, environment   (each boot)
//!                                        │
//!                          etcd ─> kube-apiserver ─> kube-controller-manager, kube-scheduler, CoreDNS
//!                                        │
//!                                       run ─> what nodes join by; answers to their requests; DNS's Service;
//!                                              the label of the master's own node
//! ```
//!
//! All of it is below /var/lib/keelson/master, and stays when the host's version changes.

pub mod approve;
pub mod dns;
pub mod objects;
pub mod options;
pub mod own;
pub mod paths;
pub mod pki;
pub mod run;
pub mod settings;
pub mod setup;
pub mod tend;
