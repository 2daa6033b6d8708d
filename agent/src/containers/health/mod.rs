//! Health checks of containers: Docker's HEALTHCHECK, run inside the container.

pub mod decide;
