//! Owns how a machine becomes a node and stays one: discovery, bootstrap, certificates and their renewal.
