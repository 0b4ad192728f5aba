//! The end of the server when a thread that it needs panics.

use std::sync::Arc;

use crate::command::state::State;

/// A guard for a thread or task that the server needs: if it panics, the server logs that and shuts down in good order, instead of
/// going on without it.
pub struct Alarm {
    state: Arc<State>,
    name: &'static str,
}

impl Alarm {
    /// Makes a guard for the calling thread or task; `name` is for the log.
    pub fn new(state: &Arc<State>, name: &'static str) -> Alarm {
        Alarm { state: state.clone(), name }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(thread = self.name, "a part that is needed has panicked: the server ends");
            self.state.fail();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::key_hash::HashSecret;
    use crate::config::Settings;

    #[test]
    fn only_a_panic_raises_it() {
        let state = Arc::new(State::new(Arc::new(Settings::default()), HashSecret::Xxh3(1), None));
        drop(Alarm::new(&state, "well"));
        assert!(!state.has_failed() && !state.is_shutting_down());
        let thread = std::thread::spawn({
            let state = state.clone();
            move || {
                let _alarm = Alarm::new(&state, "ill");
                panic!("as this test wants");
            }
        });
        assert!(thread.join().is_err());
        assert!(state.has_failed() && state.is_shutting_down());
    }
}
