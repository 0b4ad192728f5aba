//! The load generator.

mod error;
mod link;
mod nodes;
mod outcome;
mod plan;
mod progress;
mod requests;
mod run;
mod schedule;
mod tally;
mod trace;
mod values;
mod worker;

pub use error::LoadError;
pub use nodes::{HOPS_MAX, Nodes};
pub use outcome::{Outcome, Side};
pub use plan::{Distribution, Keys, Length, Operation, Plan, Sizes, Span};
pub use progress::{Progress, Silent, Snapshot};
pub use run::run;
