//! The verbs of `keelson`, one file each.
