//! The committed figures, and how others compare with them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;

use serde::{Deserialize, Serialize};

pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");

/// A path may grow by so many percent.
const GROWTH_MAX_PERCENT: f64 = 5.0;

/// Instructions a command of every path, and what they were counted with.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figures {
    environment: BTreeMap<String, String>,
    instructions_per_command: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    Grown,
}

#[cfg(target_arch = "x86_64")]
fn processor() -> &'static str {
    if std::arch::is_x86_feature_detected!("avx2") { "x86-64 with AVX2" } else { "x86-64" }
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> &'static str {
    std::env::consts::ARCH
}

impl Figures {
    /// None yet, for what this machine counts with.
    pub fn here() -> Result<Figures, String> {
        let version = |program: &str| {
            let output = Command::new(program).arg("--version").output();
            let output = output.map_err(|error| format!("{program} cannot be run: {error}"))?;
            Ok::<_, String>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        // What decides at run time which code runs: commands are timed by the clock, bytes are searched with AVX2.
        let clock = std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        let environment = [
            ("rustc", version("rustc")?),
            ("valgrind", version("valgrind")?),
            ("clock", clock.unwrap_or_default().trim().to_owned()),
            ("processor", processor().to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value)).into();
        Ok(Figures { environment, instructions_per_command: BTreeMap::new() })
    }

    pub fn load() -> Result<Figures, String> {
        let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        serde_json::from_str(&text).map_err(|error| format!("{FILE}: {error}"))
    }

    pub fn save(&self) -> Result<(), String> {
        let text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        std::fs::write(FILE, text + "\n").map_err(|error| format!("{FILE}: {error}"))
    }

    /// Adds a figure, to a tenth of an instruction.
    pub fn add(&mut self, path: &str, instructions: f64) {
        self.instructions_per_command.insert(path.to_owned(), (instructions * 10.0).round() / 10.0);
    }

    /// What `now` is beside these, as a table and what follows from it.
    pub fn compare(&self, now: &Figures) -> (String, Verdict) {
        let mut text = format!("{:<28} {:>10} {:>10} {:>9}\n", "instructions a command", "committed", "now", "change");
        let (mut grown, mut unknown, mut shrunk) = (Vec::new(), Vec::new(), Vec::new());
        for (path, count) in &now.instructions_per_command {
            let Some(committed) = self.instructions_per_command.get(path) else {
                let _ = writeln!(text, "{path:<28} {:>10} {count:>10.1} {:>9}", "-", "new");
                unknown.push(path.as_str());
                continue;
            };
            let change_percent = (count / committed - 1.0) * 100.0;
            let _ = writeln!(text, "{path:<28} {committed:>10.1} {count:>10.1} {change_percent:>+8.2}%");
            if change_percent > GROWTH_MAX_PERCENT {
                grown.push(path.as_str());
            } else if change_percent < -GROWTH_MAX_PERCENT {
                shrunk.push(path.as_str());
            }
        }
        let differs = |(name, committed): (&String, &String)| {
            let here = now.environment.get(name).filter(|here| *here != committed)?;
            Some(format!("{name} is {here:?}, committed with {committed:?}"))
        };
        let differences: Vec<String> = self.environment.iter().filter_map(differs).collect();
        let bad = !grown.is_empty() || !unknown.is_empty();
        if !shrunk.is_empty() {
            let _ = writeln!(text, "shorter by more than 5%: {} (make bench-check UPDATE=1)", shrunk.join(", "));
        }
        if !unknown.is_empty() {
            let _ = writeln!(text, "no committed figure: {} (make bench-check UPDATE=1)", unknown.join(", "));
        }
        if !grown.is_empty() {
            let _ = writeln!(text, "GROWN by more than 5%: {}", grown.join(", "));
        }
        let verdict = if differences.is_empty() {
            let conclusion = if bad { "bench-check: FAILED" } else { "bench-check: no path has grown by more than 5%" };
            text.push_str(conclusion);
            if bad { Verdict::Grown } else { Verdict::Fine }
        } else {
            let _ = write!(text, "bench-check: not comparable, so reported only: {}", differences.join("; "));
            Verdict::Fine
        };
        (text, verdict)
    }
}
