//! The registration of a connected client, as a guard.

use std::sync::Arc;

use crate::command::clients::Client;
use crate::command::state::State;

/// Takes the client out of the registry when it is dropped, which has to be before its socket is closed.
pub struct Registration {
    /// The state whose registry has the client.
    pub state: Arc<State>,
    /// The client that is removed.
    pub client: Arc<Client>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.state.clients.disconnect(&self.client);
    }
}
