//! The nine joint angles that coaches read.
