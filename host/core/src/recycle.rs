//! Memory of pictures that are gone, for the next ones of the same video.
//!
//! A frame is megabytes, which the allocator takes from the system and gives back, and the system clears and books page by page: a third of
//! what reading a frame from the decoder costs.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Free buffers of one video's pictures. Clones share them; they are freed with the last clone, however many pictures there are.
#[derive(Debug, Clone)]
pub struct Recycler {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    most: usize,
}

impl Recycler {
    /// Keeps at most so many buffers.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { free: Arc::default(), most }
    }

    /// An empty buffer with room for so many bytes.
    #[must_use]
    pub fn buffer(&self, bytes: usize) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // one that is too small is let go
        let mut buffer = free.filter(|buffer| buffer.capacity() >= bytes).unwrap_or_else(|| Vec::with_capacity(bytes));
        buffer.clear();
        buffer
    }

    /// Where a picture made of one of its buffers gives it back to.
    pub(crate) fn home(&self) -> Home {
        Home { free: Arc::downgrade(&self.free), most: self.most }
    }
}

/// Where a buffer goes when its picture is dropped: nowhere, once the recycler is gone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Home {
    free: Weak<Mutex<Vec<Vec<u8>>>>,
    most: usize,
}

impl Home {
    pub(crate) fn take_back(&self, buffer: Vec<u8>) {
        if let Some(free) = self.free.upgrade() {
            let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < self.most {
                free.push(buffer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Picture, Size};

    const SIZE: Size = Size { width: 4, height: 2 };

    fn picture(recycler: &Recycler) -> Picture {
        let mut buffer = recycler.buffer(SIZE.picture_bytes());
        buffer.resize(SIZE.picture_bytes(), 7);
        Picture::recycled(SIZE, buffer, recycler).unwrap()
    }

    #[test]
    fn the_next_picture_has_the_memory_of_the_one_that_is_gone() {
        let recycler = Recycler::new(2);
        let first = picture(&recycler);
        let at = first.data().as_ptr();
        let copy = first.clone();
        drop(first);
        let second = picture(&recycler);
        assert_eq!(second.data().as_ptr(), at);
        assert_eq!(second, copy);
    }

    #[test]
    fn no_more_is_kept_than_was_allowed_and_nothing_without_the_recycler() {
        let recycler = Recycler::new(2);
        let pictures: Vec<Picture> = (0..3).map(|_| picture(&recycler)).collect();
        drop(pictures);
        assert_eq!(recycler.free.lock().unwrap().len(), 2);
        let last = picture(&recycler);
        let free = Arc::downgrade(&recycler.free);
        drop(recycler);
        assert!(free.upgrade().is_none());
        drop(last);
    }

    #[test]
    fn a_buffer_that_is_too_small_is_not_used() {
        let recycler = Recycler::new(2);
        drop(picture(&recycler));
        assert!(recycler.buffer(1000).capacity() >= 1000);
    }
}
