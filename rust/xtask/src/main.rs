//! One entry for people and for CI.

fn main() {}
