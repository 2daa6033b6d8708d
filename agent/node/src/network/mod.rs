//! Owns the network of pods and Services: CNI configuration, routes to other nodes, nftables.
