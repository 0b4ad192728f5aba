//! The server that is ended and started again on the same directory.

use crate::support::{Client, Engine, Redis, Server, ServerOptions};
use std::net::SocketAddr;
use std::path::Path;

/// What is put to the test: the server, or redis-server to show that the test asks for nothing that is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rockpool(Engine),
    Redis,
}

/// How to start it.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub kind: Kind,
    pub flags: Vec<String>,
    pub environment: Vec<(String, String)>,
}

impl Recipe {
    pub fn new(kind: Kind, flags: &[&str]) -> Recipe {
        Recipe { kind, flags: flags.iter().map(|&flag| flag.to_owned()).collect(), environment: Vec::new() }
    }

    #[must_use]
    pub fn with_flags(&self, flags: &[&str]) -> Recipe {
        let mut recipe = self.clone();
        recipe.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        recipe
    }

    #[must_use]
    pub fn with_environment(&self, environment: &[(&str, &str)]) -> Recipe {
        let mut recipe = self.clone();
        recipe.environment.extend(environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        recipe
    }

    fn options(&self, engine: Engine, directory: &Path) -> ServerOptions {
        let options = self.flags.iter().fold(Server::options(engine).directory(directory), ServerOptions::flag);
        self.environment.iter().fold(options, |options, (name, value)| options.environment(name, value))
    }

    pub fn start(&self, directory: &Path) -> Result<Subject, String> {
        match self.kind {
            Kind::Rockpool(engine) => self.options(engine, directory).try_start().map(Subject::Rockpool),
            Kind::Redis => {
                let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
                Redis::try_start_in(directory, &flags, &self.environment).map(Subject::Redis)
            }
        }
    }

    /// Starts it and ends it again with SIGKILL while it starts: `patience` says how much of its start it may do.
    pub fn start_and_kill(&self, directory: &Path, patience: impl FnMut() -> bool) {
        if let Kind::Rockpool(engine) = self.kind {
            self.options(engine, directory).start_and_kill(patience);
        }
    }
}

#[derive(Debug)]
pub enum Subject {
    Rockpool(Server),
    Redis(Redis),
}

impl Subject {
    pub fn address(&self) -> SocketAddr {
        match self {
            Subject::Rockpool(server) => server.resp_address(),
            Subject::Redis(redis) => redis.resp_address(),
        }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    pub fn kill(&mut self) {
        match self {
            Subject::Rockpool(server) => server.kill(),
            Subject::Redis(redis) => redis.kill(),
        }
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) {
        match self {
            Subject::Rockpool(server) => assert!(server.terminate().success(), "{}", server.log()),
            Subject::Redis(redis) => assert!(redis.terminate().success(), "{}", redis.log()),
        }
    }

    pub fn log(&self) -> String {
        match self {
            Subject::Rockpool(server) => server.log(),
            Subject::Redis(redis) => redis.log(),
        }
    }
}
