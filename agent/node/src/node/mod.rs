//! Owns the Node object and its Lease: registration, status, conditions, heartbeats.
