//! Where objects live: one trait, a directory and a memory store, one conformance suite.
