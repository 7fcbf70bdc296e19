//! libp2p: the control plane between nodes.
