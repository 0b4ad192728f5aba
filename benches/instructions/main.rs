//! How many instructions a command takes, counted by valgrind's callgrind: a figure that a busy machine does not change.
//!
//! Each path runs in a process of its own, under callgrind, which counts what happens within [`counted`] on its thread
//! and nothing else: start, filling, checks and RocksDB's threads are left out, and so are system calls' insides. The
//! figures are compared with those committed in `benches/instructions.json`.

mod figures;
mod paths;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path as FilePath;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rockpool::base::memory::Counting;

use figures::{Figures, Verdict};
use paths::{PATHS, Path};

/// The server's own, so that allocations cost what they cost there.
#[global_allocator]
static ALLOCATOR: Counting<tikv_jemallocator::Jemalloc> = Counting(tikv_jemallocator::Jemalloc);

/// Tells this program that it runs under callgrind: the path's name and an empty directory follow.
const COUNT: &str = "--count";

fn main() -> ExitCode {
    // What `cargo bench` adds says nothing here.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        [COUNT, name, directory] => {
            find(name).map(|path| println!("{}", path.run(FilePath::new(directory), &mut counted)))
        }
        [] => return check(),
        ["--update"] => measure_all().and_then(|figures| {
            figures.save()?;
            println!("written to {}", figures::FILE);
            Ok(())
        }),
        ["--profile", name] => find(name).and_then(profile),
        _ => Err("usage: cargo bench --bench instructions [-- --update | --profile PATH]".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What callgrind counts: from entering this function to leaving it.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // Or the call might become a jump, and nothing would be left to return to.
    std::hint::black_box(());
}

fn find(name: &str) -> Result<&'static Path, String> {
    let names = || PATHS.iter().map(|path| path.name).collect::<Vec<_>>().join(" ");
    PATHS.iter().find(|path| path.name == name).ok_or_else(|| format!("no path {name:?}; there are: {}", names()))
}

/// Compares with the committed figures and tells; fails if a path has become longer.
fn check() -> ExitCode {
    let compared = measure_all().and_then(|now| Ok(Figures::load()?.compare(&now)));
    match compared {
        Ok((text, verdict)) => {
            println!("{text}");
            if verdict == Verdict::Grown { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts all paths, as many at a time as there are processors: it does not change the counts.
fn measure_all() -> Result<Figures, String> {
    let mut figures = Figures::here()?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<_>, String> {
        let mut counts = Vec::new();
        while let Some(path) = PATHS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
            counts.push((path.name, count(path, directory.path())?));
        }
        Ok(counts)
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            for (name, (commands, instructions)) in worker.join().map_err(|_| "a worker panicked")?? {
                figures.add(name, instructions as f64 / commands as f64);
            }
        }
        Ok(figures)
    })
}

/// Runs a path under callgrind, whose file becomes `callgrind.out` in `directory`. Returns commands and instructions.
fn count(path: &Path, directory: &FilePath) -> Result<(u64, u64), String> {
    let data = directory.join("data");
    std::fs::create_dir(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=instructions::counted*"])
        .arg(format!("--callgrind-out-file={}", directory.join("callgrind.out").display()))
        .arg(program)
        .args([COUNT, path.name])
        .arg(data)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind cannot be run ({error}): apt-get install valgrind"))?;
    let (text, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let instructions = log.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match (output.status.success(), text.trim().parse(), instructions) {
        (true, Ok(commands), Some(instructions)) if instructions > 0 => Ok((commands, instructions)),
        _ => Err(format!("{} could not be counted:\n{log}{text}", path.name)),
    }
}

/// Prints which functions the path's instructions are in.
fn profile(path: &Path) -> Result<(), String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (commands, instructions) = count(path, directory.path())?;
    println!("{}: {instructions} instructions, {commands} commands", path.name);
    for inclusive in ["--inclusive=no", "--inclusive=yes"] {
        let status = Command::new("callgrind_annotate")
            .args(["--auto=no", "--threshold=99", inclusive])
            .arg(directory.path().join("callgrind.out"))
            .status()
            .map_err(|error| format!("callgrind_annotate: {error}"))?;
        if !status.success() {
            return Err("callgrind_annotate failed".to_owned());
        }
    }
    Ok(())
}
