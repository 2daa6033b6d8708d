//! Owns eviction: pods are ended before the node runs out of memory, disk or process ids; and the pressure conditions.
