//! Exit codes, as the help documents them.

use std::io::Write;

use halfpipe_queue::QueueError;
use halfpipe_runtime::{FaultKind, RuntimeError};
use halfpipe_service::queue::WorkerError;
use halfpipe_store::StoreError;

/// Prints the error in one line, its causes included, and ends the process with the outcome's exit code.
pub fn finish(outcome: anyhow::Result<()>) -> ! {
    let code = tell(outcome);
    // nobody is left to hear that stdout cannot be written
    let _ = std::io::stdout().flush();
    end(code)
}

/// Ends the process without the exit handlers of libraries: those of graphics drivers free what a thread that still opens a
/// device, or that was left behind in a blocking call, works with, and the process would crash instead of ending.
pub fn end(code: u8) -> ! {
    signal_hook::low_level::exit(i32::from(code))
}

/// Prints the error, if there is one.
fn tell(outcome: anyhow::Result<()>) -> u8 {
    let Err(error) = outcome else { return 0 };
    if let Some(Told(code)) = error.downcast_ref() {
        return *code;
    }
    let code = code(&error);
    if code == 130 {
        eprintln!("stopped; nothing was written");
    } else {
        eprintln!("error: {}", one_line(&error));
    }
    code
}

/// A program that was started has told its error itself; its exit code is left.
#[derive(Debug)]
pub struct Told(pub u8);

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a program that was started ended with {}, for the reason it told", self.0)
    }
}
impl std::error::Error for Told {}

/// Something is missing or wrong on this machine.
#[derive(Debug)]
pub struct Environment(pub String);

impl std::fmt::Display for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Environment {}

fn code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<Environment>().is_some() {
        return 4;
    }
    match error.downcast_ref::<StoreError>() {
        Some(StoreError::Settings { .. }) => return 3,
        Some(StoreError::Open { .. } | StoreError::NoBucket { .. } | StoreError::Denied { .. } | StoreError::Unavailable { .. }) => {
            return 4;
        }
        _ => {}
    }
    match error.downcast_ref::<QueueError>() {
        Some(QueueError::Settings { .. }) => return 3,
        Some(_) => return 4,
        None => {}
    }
    if error.downcast_ref::<WorkerError>().is_some() {
        return 4;
    }
    let Some(error) = error.downcast_ref::<RuntimeError>() else { return 1 };
    match error.kind() {
        FaultKind::BadInput => 3,
        FaultKind::BadModel | FaultKind::Environment => 4,
        FaultKind::BadGuest => 5,
        FaultKind::Cancelled => 130,
        FaultKind::Failed => 1,
    }
}

fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // an outer error that already tells its cause must not tell it twice
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_follow_the_kind_of_fault() {
        assert_eq!(code(&RuntimeError::BadInput("x".into()).into()), 3);
        assert_eq!(code(&RuntimeError::Cancelled.into()), 130);
        assert_eq!(code(&RuntimeError::Guest { guest: "g".into(), message: "m".into() }.into()), 5);
        assert_eq!(code(&Environment("no ffmpeg".into()).into()), 4);
        assert_eq!(code(&StoreError::Settings { store: "s".into(), rule: "r".into() }.into()), 3);
        assert_eq!(code(&StoreError::NoBucket { store: "s".into() }.into()), 4);
        assert_eq!(code(&QueueError::Settings { queue: "q".into(), rule: "r".into() }.into()), 3);
        assert_eq!(code(&QueueError::NoQueue { queue: "q".into() }.into()), 4);
        assert_eq!(code(&WorkerError::Hopeless { seconds: 1, reason: "r".into() }.into()), 4);
        assert_eq!(code(&anyhow::anyhow!("x")), 1);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("disk full").context("cannot write a: disk full").context("job");
        assert_eq!(one_line(&error), "job: cannot write a: disk full");
    }
}
