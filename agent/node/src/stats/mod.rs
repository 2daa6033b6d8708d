//! Owns what pods and the node use: the summary, and the metrics of the kubelet.
