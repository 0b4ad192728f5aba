//! `CONFIG GET` and `CONFIG SET`: <https://redis.io/commands/config-get/>, <https://redis.io/commands/config-set/>.

use std::fmt;

use super::choice::Permission;
use super::parameter::Mutability;
use super::table::{PARAMETERS, Parameter, Settings, find};
use crate::base::glob;

/// Where a `CONFIG SET` comes from: some parameters may be set from the same machine only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// This machine.
    Local,
    /// Another machine.
    Remote,
}

/// Why new values could not be put to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplied {
    /// The parameter.
    pub name: &'static str,
    /// What the client is told, such as "Failed to bind to specified addresses.".
    pub reason: String,
}

/// What precedes the name of a parameter that is unknown.
pub const UNKNOWN_BEFORE_NAME: &str = "Unknown option or number of arguments for CONFIG SET - '";

/// Why nothing was set, in Redis's words without its "ERR ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSet {
    /// There is no parameter of this name, which may be any bytes.
    Unknown(Vec<u8>),
    /// One of them cannot be set, or not to this value: the reason, as the client is told.
    Refused(String),
}

impl fmt::Display for NotSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotSet::Unknown(name) => write!(formatter, "{UNKNOWN_BEFORE_NAME}{}'", String::from_utf8_lossy(name)),
            NotSet::Refused(reason) => formatter.write_str(reason),
        }
    }
}

/// One pair of a `CONFIG SET` that may be set.
struct Assignment<'a> {
    parameter: &'static Parameter,
    /// The name or alias that the client used, as the table spells it.
    name: &'static str,
    text: &'a str,
}

impl Settings {
    /// What was given at the start and has no effect, whatever its value: whoever gave it should be told.
    pub fn given_without_effect(&self) -> &[&'static str] {
        &self.origin.without_effect
    }

    /// The parameters whose name or alias matches one of `patterns` whatever the case, each name once, and their
    /// values, in the order of the table.
    pub fn matching(&self, patterns: &[&[u8]]) -> Vec<(&'static str, String)> {
        let wanted = |name: &str| patterns.iter().any(|pattern| name_matches(pattern, name));
        PARAMETERS
            .iter()
            .flat_map(|parameter| parameter.names().map(move |name| (parameter, name)))
            .filter(|(_, name)| wanted(name))
            .map(|(parameter, name)| (name, parameter.value(self).text()))
            .collect()
    }

    /// Sets all of `pairs`, or none if one is refused, for a caller from another machine. Returns the parameters
    /// whose values are others now.
    pub fn set(&self, pairs: &[(&[u8], &[u8])]) -> Result<Vec<&'static str>, NotSet> {
        self.set_with(pairs, Caller::Remote, |_, _| Ok(()), |_| Ok(()))
    }

    /// [`Settings::set`] for any caller, with two more steps. `check` is given each parameter and the text of its value, which
    /// it can read, and refuses those that would do harm if they were in force for a moment. `apply` puts the new values to use (opens a port, resizes a
    /// table). It is given the parameters that changed; if it fails, all of them get their old values back, and
    /// undoing what it did is up to it. No other thread sets values meanwhile, but others read the new ones;
    /// `apply` itself must neither set nor rewrite, or it waits for itself.
    pub fn set_with(
        &self,
        pairs: &[(&[u8], &[u8])],
        caller: Caller,
        check: impl Fn(&'static str, &str) -> Result<(), NotApplied>,
        apply: impl FnOnce(&[&'static str]) -> Result<(), NotApplied>,
    ) -> Result<Vec<&'static str>, NotSet> {
        let _writing = self.writing.lock();
        let assignments = self.assignments(pairs, caller)?;
        for Assignment { parameter, name, text } in &assignments {
            parameter.value(self).check(text).map_err(|reason| failure(name, &reason))?;
            check(parameter.name, text).map_err(|NotApplied { name, reason }| failure(name, &reason))?;
        }
        let mut changed: Vec<(&Parameter, String)> = Vec::new();
        for Assignment { parameter, name, text } in &assignments {
            let before = parameter.value(self).text();
            match parameter.value(self).assign(text) {
                Ok(true) if changed.iter().all(|(known, _)| known.name != parameter.name) => {
                    changed.push((parameter, before));
                }
                Ok(_) => {}
                // Only a value that depends on the outside, such as a directory, can fail now.
                Err(reason) => {
                    self.restore(&changed);
                    return Err(failure(name, &reason));
                }
            }
        }
        let names: Vec<_> = changed.iter().map(|(parameter, _)| parameter.name).collect();
        if names.is_empty() {
            return Ok(names);
        }
        apply(&names).map_err(|NotApplied { name, reason }| {
            self.restore(&changed);
            failure(name, &reason)
        })?;
        Ok(names)
    }

    /// What can be said about a `CONFIG SET` before its values are looked at, in the order in which Redis looks.
    fn assignments<'a>(&self, pairs: &[(&[u8], &'a [u8])], caller: Caller) -> Result<Vec<Assignment<'a>>, NotSet> {
        let mut assignments: Vec<Assignment<'a>> = Vec::with_capacity(pairs.len());
        let mut refused = None;
        for (given, value) in pairs {
            let Some((parameter, name)) = find(given) else {
                return Err(refused.unwrap_or_else(|| NotSet::Unknown(given.to_vec())));
            };
            let given_name = || String::from_utf8_lossy(given).into_owned();
            if refused.is_some() {
                continue;
            }
            if let Some(reason) = self.refusal(parameter, caller) {
                refused = Some(failure(&given_name(), reason));
            } else if assignments.iter().any(|earlier| earlier.name == name) {
                refused = Some(failure(&given_name(), "duplicate parameter"));
            } else if let Ok(text) = std::str::from_utf8(value) {
                assignments.push(Assignment { parameter, name, text });
            } else {
                refused = Some(failure(&given_name(), "argument must be valid UTF-8"));
            }
        }
        refused.map_or(Ok(assignments), Err)
    }

    fn refusal(&self, parameter: &Parameter, caller: Caller) -> Option<&'static str> {
        match (parameter.mutability, self.enable_protected_configs.get()) {
            (Mutability::Immutable, _) => Some("can't set immutable config"),
            (Mutability::Protected, Permission::No) => Some("can't set protected config"),
            (Mutability::Protected, Permission::Local) if caller == Caller::Remote => {
                Some("can't set protected config")
            }
            _ => None,
        }
    }

    fn restore(&self, changed: &[(&Parameter, String)]) {
        for (parameter, before) in changed {
            // What was a value is one still, except for a directory that is gone: then the new one stays.
            if let Err(reason) = parameter.value(self).assign(before) {
                tracing::warn!(parameter = parameter.name, reason, "the old value could not be restored");
            }
        }
    }
}

/// Whether the values of this parameter are secret: logs and MONITOR must not show them.
pub fn is_sensitive(name: &[u8]) -> bool {
    find(name).is_some_and(|(parameter, _)| parameter.sensitive)
}

fn name_matches(pattern: &[u8], name: &str) -> bool {
    if pattern.iter().any(|byte| b"[*?".contains(byte)) {
        glob::matches(pattern, name.as_bytes(), true)
    } else {
        // Without a wildcard there is nothing to escape either.
        pattern.eq_ignore_ascii_case(name.as_bytes())
    }
}

fn failure(name: &str, reason: &str) -> NotSet {
    NotSet::Refused(format!("CONFIG SET failed (possibly related to argument '{name}') - {reason}"))
}
