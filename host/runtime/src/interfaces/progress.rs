//! `halfpipe:job/progress`: progress out, the stop request in, and the books of guest CPU time.

use crate::bindings::halfpipe::job::progress::{Host, Stage as WitStage};
use crate::progress::Stage;
use crate::state::JobState;

/// Longest section name, and the most different ones, so that the book stays small.
const LONGEST_NAME: usize = 32;
const MOST_SECTIONS: usize = 16;

impl crate::bindings::halfpipe::job::types::Host for JobState {}

impl Host for JobState {
    fn report(&mut self, stage: WitStage, done: u64, total: Option<u64>) -> wasmtime::Result<bool> {
        self.touch();
        let stage = match stage {
            WitStage::Opening => Stage::Opening,
            WitStage::Running => Stage::Running,
            WitStage::Finishing => Stage::Finishing,
        };
        // the guest knows the length of the whole video only
        let total = self.window.map_or(total, |w| w.part.map(|part| part.reads));
        self.tell(stage, done, total);
        Ok(!self.cancel.is_cancelled())
    }

    fn section(&mut self, name: String) -> wasmtime::Result<()> {
        self.touch();
        if name.len() <= LONGEST_NAME {
            self.clock.section(&name, MOST_SECTIONS);
        }
        Ok(())
    }
}
