//! What the crash and the power-cut tests share: writers whose commands are known in full, and a judgement of what a
//! server has kept of them.
//!
//! Every writer has keys of its own, so that each of them is a pure function of how many of the writer's commands were
//! carried out ([`model`]). After a crash, [`check`] looks for the numbers of commands that explain what is there.

// The two test binaries use different parts.
#![allow(dead_code)]

pub mod check;
pub mod model;
pub mod observe;
pub mod subject;
pub mod workload;

/// A number from the environment, as `ROCKPOOL_CRASH_ROUNDS=2000`.
pub fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}

/// The seed that `name` gives, or one by chance.
pub fn seed(name: &str) -> u64 {
    from_environment(name).unwrap_or_else(|| rand::random::<u32>().into())
}
