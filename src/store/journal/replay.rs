//! What a journal hands over when it is opened.

/// Who takes over what a journal holds when it is opened.
pub trait Replay {
    /// What is to come takes so many bytes in files, at most.
    fn begin(&mut self, total_bytes: u64) {
        let _ = total_bytes;
    }

    /// So many of these bytes hold no block that counts.
    fn pass(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// One block's payload.
    ///
    /// # Errors
    /// What is wrong with it.
    fn block(&mut self, payload: &[u8]) -> Result<(), String>;

    /// That was the last. Nothing is changed in the journal's directory before this has returned.
    ///
    /// # Errors
    /// Why the blocks could not be taken over.
    fn end(&mut self) -> Result<(), String> {
        Ok(())
    }
}

impl<F: FnMut(&[u8]) -> Result<(), String>> Replay for F {
    fn block(&mut self, payload: &[u8]) -> Result<(), String> {
        self(payload)
    }
}
