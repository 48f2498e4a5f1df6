//! The one place where axis conventions are converted.
