//! A client's stay among the connected ones.

use std::sync::Arc;

use crate::command::clients::Client;
use crate::command::state::State;

/// Takes the client out of the registry when it is dropped, which has to be before its socket is closed.
pub struct Registration {
    /// Holds the registry.
    pub state: Arc<State>,
    /// Who is taken out.
    pub client: Arc<Client>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.state.clients.disconnect(&self.client);
    }
}
