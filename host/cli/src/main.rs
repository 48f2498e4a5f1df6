//! The halfpipe command.
fn main() {}
