//! Rules of this repository that a compiler does not know, each as a test: `make tidy`.
//!
//! A rule belongs here if breaking it would go unnoticed otherwise and if it can be checked from the sources alone, in
//! milliseconds. Each check is a function from text to complaints with a test of its own on a broken example, and one test
//! that runs it over the repository.

#[cfg(test)]
mod deployment;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod licences;
#[cfg(test)]
mod links;
#[cfg(test)]
mod repository;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod wit;
