//! All five tools behind one name.

fn main() {}
