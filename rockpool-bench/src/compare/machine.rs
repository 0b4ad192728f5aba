//! What a reader has to know about where the figures come from.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The first line that a program prints, on whichever of its outputs; none where it does not run.
pub fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

/// Names and values, in the order of the report. `directory` is where the servers keep their data.
pub fn facts(directory: &Path) -> Vec<(String, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let unknown = || "unknown".to_owned();
    let cpu = cpu_model(&read("/proc/cpuinfo")).unwrap_or_else(unknown);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = memory_bytes(&read("/proc/meminfo"))
        .map_or_else(unknown, |bytes| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64));
    let uname = rustix::system::uname();
    let kernel = format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
    let file_system = file_system(&read("/proc/self/mountinfo"), directory).unwrap_or_else(unknown);
    [
        ("CPU", format!("{cpu}, {cpus} in use")),
        ("memory", memory),
        ("kernel", kernel),
        ("file system of the data", file_system),
        ("date", httpdate::fmt_http_date(SystemTime::now())),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The type of the file system whose mount point is the longest above `directory`. A line of mountinfo is: id, parent,
/// device, root, mount point, options, optional fields, `-`, type, source, …
fn file_system(mountinfo: &str, directory: &Path) -> Option<String> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let mount_point = Path::new(fields.nth(4)?);
        let kind = fields.skip_while(|field| *field != "-").nth(1)?;
        directory.starts_with(mount_point).then_some((mount_point.as_os_str().len(), kind))
    });
    // Of several mounts on one place, the last one is seen.
    mounts.max_by_key(|(length, _)| *length).map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_above_tells_the_file_system() {
        let mountinfo = "1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
                         2 1 0:5 / /tmp rw shared:3 master:1 - tmpfs tmpfs rw\n\
                         3 1 8:2 / /tmpfiles rw - xfs /dev/sdb rw\n";
        for (directory, kind) in [("/home/a", "ext4"), ("/tmp/a", "tmpfs"), ("/tmp", "tmpfs"), ("/tmpfiles/b", "xfs")] {
            assert_eq!(file_system(mountinfo, Path::new(directory)).as_deref(), Some(kind), "{directory}");
        }
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Some CPU\n").as_deref(), Some("Some CPU"));
        assert_eq!(memory_bytes("MemTotal:       1024 kB\nMemFree: 1 kB\n"), Some(1 << 20));
        assert_eq!(cpu_model(""), None);
        assert_eq!(memory_bytes("MemTotal: lots\n"), None);
    }

    #[test]
    fn every_fact_has_a_value() {
        let facts = facts(&std::env::temp_dir());
        // Not every processor says what it is.
        assert!(
            facts.iter().all(|(name, value)| !value.is_empty() && (name == "CPU" || value != "unknown")),
            "{facts:?}"
        );
    }

    #[test]
    fn only_a_program_that_runs_has_a_first_line() {
        assert_eq!(first_line("echo", &["a\nb"]).as_deref(), Some("a"));
        assert_eq!(first_line("false", &[]), None);
        assert_eq!(first_line("/no/such/program", &[]), None);
    }
}
