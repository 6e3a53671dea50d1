//! The story of Grantmesh, played on real parts.

fn main() {}
