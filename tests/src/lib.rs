//! What the tests share: small trees ([`tree`]), Debian archives ([`deb`]), signed APT repositories
//! ([`apt`], [`gpg`]), a web server that can be told to stall ([`http`]), OSTree repositories that
//! went wrong in some way ([`repo`]), the built `keelson` ([`keelson`]), a little world of all these
//! to compose in ([`archive`]), and the shipped hosts in two versions, composed once a checkout and
//! shared by all tests ([`host`]), a virtual machine that runs one ([`guest`]), a Kubernetes control
//! plane ([`cluster`]), a fleet's reboot lock ([`fleetlock`]), and the steps of what takes long ([`steps`]).
//!
//! Stock tools are the judges wherever there is one: archives come from `dpkg-deb`, indexes from
//! `apt-ftparchive`, signatures from `gpg`, repositories are read back by `ostree`, clusters by `kubectl`.

pub mod apt;
pub mod archive;
pub mod cluster;
pub mod containers;
pub mod deb;
pub mod fleetlock;
pub mod gpg;
pub mod guest;
pub mod host;
pub mod http;
pub mod keelson;
pub mod paths;
pub mod repo;
pub mod steps;
pub mod tree;
