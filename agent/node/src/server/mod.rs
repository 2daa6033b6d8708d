//! Owns the kubelet API on :10250.
