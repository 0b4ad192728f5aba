//! Runs an experiment: starts the servers of a group, fills and checks them, and measures them in turns.

use std::io::ErrorKind;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::control::Control;
use super::cpus::Cpus;
use super::experiment::{Contender, Experiment, Group, Load, Origin};
use super::failure::Failure;
use super::interrupt::Directory;
use super::machine;
use super::moving::Moving;
use super::proc::GroupTime;
use super::progress::Progress;
use super::results::{Cell, ContenderResults, Expiry, FORMAT, GroupResults, Memory, Results, Run};
use super::server::Server;
use super::settings::Settings;
use crate::load::Length;

/// At rest is who needs no more than a tick of the clock in each step, and has no process beside it that rewrites a log,
/// for longer than background work lets wait for it.
const REST: Duration = Duration::from_millis(600);
const REST_STEP: Duration = Duration::from_millis(200);
const REST_CPU_SHARE: f64 = 0.06;
/// How long a server may go on in the background before the next one has its turn.
const REST_PATIENCE: Duration = Duration::from_secs(20);
/// The same for a server that was started and has no keys yet.
const START_PATIENCE: Duration = Duration::from_secs(3);
/// How long after their time keys may still be there.
const EXPIRY_PATIENCE: Duration = Duration::from_secs(60);

/// Whether the client can make every load of the experiment.
///
/// # Errors
/// One that says why not.
pub fn check(experiment: &Experiment, settings: &Settings) -> Result<(), Failure> {
    for group in &experiment.groups {
        for (contender, load) in group.contenders.iter().flat_map(|one| group.loads.iter().map(move |load| (one, load)))
        {
            settings.client.check_ability(group, contender, load)?;
        }
    }
    Ok(())
}

/// Runs it to its end; `keep` is given the results after each group.
///
/// # Errors
/// When a server cannot be started or is lost, and those of `keep`. Wrong replies are in the results.
pub fn run(
    experiment: &Experiment,
    settings: &Settings,
    keep: &mut dyn FnMut(&Results) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let directory = Directory::new(settings.directory.as_deref())?;
    let facts = machine::facts(directory.path());
    let all_cpus = Cpus::of_this_thread()?;
    settings.client_cpus.keep_this_thread()?;
    let server_cpus = if settings.server_cpus.is_empty() { &all_cpus } else { &settings.server_cpus };
    let mut progress = Progress::new(experiment, settings);
    let mut results = Results {
        format: FORMAT,
        name: experiment.name.clone(),
        title: experiment.title.clone(),
        about: experiment.about.clone(),
        baseline: experiment.baseline.clone(),
        facts,
        command: settings.command.clone(),
        client: client_facts(settings),
        rounds: settings.rounds,
        is_partial: true,
        groups: Vec::new(),
    };
    for (number, group) in experiment.groups.iter().enumerate() {
        let directory = directory.path().join(number.to_string());
        results.groups.push(run_group(group, settings, server_cpus, &directory, &mut progress)?);
        results.is_partial = results.groups.len() < experiment.groups.len();
        results.summarize();
        keep(&results)?;
        // The next group's servers need the room. Who runs already has none.
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn client_facts(settings: &Settings) -> Vec<(String, String)> {
    use super::client::Kind;
    let Settings { client, server_cpus, client_cpus, .. } = settings;
    let program = match client.kind {
        Kind::RockpoolBench => format!("rockpool-bench {}", env!("CARGO_PKG_VERSION")),
        Kind::RedisBenchmark => machine::first_line("redis-benchmark", &["--version"]).unwrap_or_default(),
    };
    let cpus = |cpus: &Cpus| if cpus.is_empty() { "any".to_owned() } else { cpus.to_string() };
    [
        ("client", program),
        ("client threads", client.threads.to_string()),
        ("length of a measurement", format!("{:?}", client.duration)),
        ("CPUs of the servers / the client", format!("{} / {}", cpus(server_cpus), cpus(client_cpus))),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A contender while it runs.
struct Participant<'a> {
    contender: &'a Contender,
    server: Server,
    /// See [`idle_share`].
    idle_share: f64,
    results: ContenderResults,
}

fn run_group(
    group: &Group,
    settings: &Settings,
    cpus: &Cpus,
    directory: &Path,
    progress: &mut Progress,
) -> Result<GroupResults, Failure> {
    let mut participants = Vec::new();
    for (number, contender) in group.contenders.iter().enumerate() {
        progress.begin(&group.title, &contender.label, "is started and filled");
        let directory = directory.join(number.to_string());
        participants.push(prepare(contender, group, settings, cpus, &directory)?);
        progress.filled(group);
    }
    let mut cells = Vec::new();
    for (number, load) in group.loads.iter().enumerate() {
        cells.push(run_cell((number, load), group, settings, &mut participants, progress)?);
    }
    let writes_expire = group.fill_ttl_ms.is_some() || group.loads.iter().any(|load| load.ttl_ms.is_some());
    for participant in &mut participants {
        if !writes_expire && settings.client.leaves_values(&group.loads) {
            let check = settings.client.check(&participant.server, participant.contender, group, "end")?;
            participant.results.checks.push(check);
        }
        if let (Some(memory), Some(now)) = (&mut participant.results.memory, participant.server.resident()?) {
            memory.peak_bytes = now.peak_bytes;
        }
        if group.loads.iter().any(Load::writes) {
            let check = settings.client.overwrite(&participant.server, participant.contender, group)?;
            participant.results.checks.push(check);
        }
    }
    Ok(GroupResults {
        title: group.title.clone(),
        durability: group.durability,
        keys: group.keys,
        value_bytes: (group.value_bytes.min, group.value_bytes.max),
        contenders: participants.into_iter().map(|participant| participant.results).collect(),
        cells,
    })
}

fn prepare<'a>(
    contender: &'a Contender,
    group: &Group,
    settings: &Settings,
    cpus: &Cpus,
    directory: &Path,
) -> Result<Participant<'a>, Failure> {
    let mut server = Server::start(contender, group.durability, directory, cpus)?;
    let mut remarks = Vec::new();
    let idle_share = idle_share(&mut server, contender)?;
    if idle_share > 0.0 {
        remarks.push(format!("it uses {:.0}% of a CPU while it has nothing to do", idle_share * 100.0));
    }
    let empty = server.resident()?;
    let filling = Instant::now();
    settings.client.fill(&server, contender, group)?;
    let filled_at = Instant::now();
    // Lifetimes do not wait for it.
    if group.fill_ttl_ms.is_none() && !rest(&mut server, contender, idle_share)? {
        let seconds = REST_PATIENCE.as_secs();
        remarks.push(format!("it did not come to rest within {seconds} s after its keys were written"));
    }
    let filled = server.resident()?;
    let begin_to_end = group.fill_ttl_ms.map(|ttl_ms| filling + Duration::from_millis(ttl_ms.min));
    if begin_to_end.is_some_and(|time| Instant::now() > time) {
        remarks.push("lifetimes had begun to end before all of its keys were written".to_owned());
    }
    let mut results = ContenderResults {
        label: contender.label.clone(),
        command: shown_command(contender, group),
        version: version(contender, &server),
        memory: empty.zip(filled).map(|(empty, filled)| Memory {
            empty_bytes: empty.now_bytes,
            filled_bytes: filled.now_bytes,
            peak_bytes: filled.peak_bytes,
        }),
        checks: Vec::new(),
        expiry: None,
        remarks,
    };
    match group.fill_ttl_ms {
        Some(ttl_ms) => {
            let last_due = filled_at + Duration::from_millis(ttl_ms.max);
            let lag_s = wait_for_expiry(&server, last_due)?;
            sleep(settings.give_back);
            results.expiry = Some(Expiry {
                lag_s,
                waited_s: settings.give_back.as_secs_f64(),
                resident_bytes: server.resident()?.map(|resident| resident.now_bytes),
            });
        }
        None => results.checks.push(settings.client.check(&server, contender, group, "filled")?),
    }
    Ok(Participant { contender, server, idle_share, results })
}

/// Waits until the server has no keys any more: how many seconds that was after `last_due`, or before it.
fn wait_for_expiry(server: &Server, last_due: Instant) -> Result<f64, Failure> {
    while server.key_count()? > 0 {
        if Instant::now() > last_due + EXPIRY_PATIENCE {
            let seconds = EXPIRY_PATIENCE.as_secs();
            return Err(Failure::new(format!("keys are still there {seconds} s after their time")));
        }
        sleep(Duration::from_millis(20));
    }
    let now = Instant::now();
    Ok(match now.checked_duration_since(last_due) {
        Some(late) => late.as_secs_f64(),
        None => -(last_due - now).as_secs_f64(),
    })
}

fn shown_command(contender: &Contender, group: &Group) -> String {
    match &contender.origin {
        Origin::Started { recipe, engine, nodes, cluster } => {
            let command = recipe.shown(*engine, group.durability);
            if *cluster { format!("{command} ({nodes} of them)") } else { command }
        }
        Origin::Running { addresses } => format!("ran already, {} of its addresses given", addresses.len()),
    }
}

/// What a server says of itself: what INFO calls a version, of the server and not of its compiler.
fn version(contender: &Contender, server: &Server) -> String {
    let from_program = match &contender.origin {
        Origin::Started { recipe, .. } if recipe.is_known() => machine::first_line(recipe.program(), &["--version"]),
        _ => None,
    };
    let from_info = || {
        let mut control = Control::connect(*server.control_addresses().first()?).ok()?;
        let info = control.text(&["INFO", "server"]).ok()?;
        let versions: Vec<&str> =
            info.lines().filter(|line| line.contains("_version:") && !line.starts_with("gcc")).collect();
        (!versions.is_empty()).then(|| versions.join(", "))
    };
    from_program.or_else(from_info).unwrap_or_else(|| "unknown".to_owned())
}

/// Waits until the server does nothing in the background; false when it goes on for too long.
fn rest(server: &mut Server, contender: &Contender, idle_share: f64) -> Result<bool, Failure> {
    rest_within(server, contender, idle_share, REST_PATIENCE)
}

/// The part of a CPU that a server uses that has nothing to do, above what counts as none.
fn idle_share(server: &mut Server, contender: &Contender) -> Result<f64, Failure> {
    if rest_within(server, contender, 0.0, contender.background_interval + START_PATIENCE)? {
        return Ok(0.0);
    }
    let (start, before) = (Instant::now(), server.processor_time()?);
    sleep(REST);
    let share =
        |(before, after): (GroupTime, GroupTime)| (after.seconds - before.seconds) / start.elapsed().as_secs_f64();
    Ok(before.zip(server.processor_time()?).map_or(0.0, share))
}

fn rest_within(
    server: &mut Server,
    contender: &Contender,
    idle_share: f64,
    patience: Duration,
) -> Result<bool, Failure> {
    let needed = REST.max(contender.background_interval + REST_STEP);
    let start = Instant::now();
    let mut quiet = Duration::ZERO;
    let Some(mut before) = server.processor_time()? else { return Ok(true) };
    while start.elapsed() < patience {
        let step = Instant::now();
        sleep(REST_STEP);
        let Some(now) = server.processor_time()? else { return Ok(true) };
        let share = (now.seconds - before.seconds) / step.elapsed().as_secs_f64();
        before = now;
        let is_quiet = share <= idle_share + REST_CPU_SHARE && !server.has_helpers(now);
        quiet = if is_quiet { quiet + REST_STEP } else { Duration::ZERO };
        if quiet >= needed {
            return Ok(true);
        }
    }
    Ok(false)
}

fn run_cell(
    (number, load): (usize, &Load),
    group: &Group,
    settings: &Settings,
    participants: &mut [Participant],
    progress: &mut Progress,
) -> Result<Cell, Failure> {
    let mut lengths = Vec::new();
    for participant in participants.iter_mut() {
        let length = settings.client.length(&participant.server, participant.contender, group, load)?;
        if matches!(length, Length::Requests(_)) {
            // There was a trial.
            rest(&mut participant.server, participant.contender, participant.idle_share)?;
        }
        lengths.push(length);
    }
    let mut runs = Vec::new();
    for round in 0..settings.rounds {
        // Each load of each round has an order of keys of its own, which is the same for all servers.
        let order_seed = (number * settings.rounds + round) as u64;
        for turn in 0..participants.len() {
            // Each in turn is the first.
            let at = (round + turn) % participants.len();
            let participant = &mut participants[at];
            progress.begin(&group.title, &participant.contender.label, &describe(load));
            let run = measure(load, group, settings, participant, lengths[at], (round, order_seed))?;
            progress.measured(&run, participant.contender);
            runs.push(run);
        }
    }
    Ok(Cell { title: load.title(), pipeline: load.pipeline, clients: load.clients, runs, summaries: Vec::new() })
}

fn describe(load: &Load) -> String {
    format!("{} c {} P {}", load.title(), load.clients, load.pipeline)
}

fn measure(
    load: &Load,
    group: &Group,
    settings: &Settings,
    participant: &mut Participant,
    length: Length,
    (round, order_seed): (usize, u64),
) -> Result<Run, Failure> {
    let Participant { contender, server, idle_share, .. } = participant;
    let moving = if load.moving { Some(Moving::start(server.control_addresses())?) } else { None };
    let written_before = server.written_bytes()?;
    let measured = settings.client.measure(server, contender, group, load, length, order_seed)?;
    let moved_slots = moving.map(Moving::stop).transpose()?;
    let rested = rest(server, contender, *idle_share)?;
    let at_rest = server.processor_time()?;
    let written = written_before.zip(server.written_bytes()?).map(|(before, after)| after - before);
    let set_bytes = measured.set_bytes.filter(|bytes| *bytes > 0);
    let for_each =
        |before: GroupTime, after: GroupTime| (after.seconds - before.seconds) * 1e6 / measured.requests.max(1) as f64;
    Ok(Run {
        label: contender.label.clone(),
        round,
        requests: measured.requests,
        requests_per_s: measured.requests_per_s,
        cpu_us: measured.server_time.map(|(before, loaded)| for_each(before, loaded)),
        total_cpu_us: measured.server_time.zip(at_rest).map(|((before, _), at_rest)| for_each(before, at_rest)),
        written_per_set_byte: written.zip(set_bytes).map(|(written, set)| written as f64 / set as f64),
        rested,
        client_cpu_us: measured.client_cpu_us,
        latency_ms: measured.latency_ms,
        misses: measured.misses,
        errors: measured.errors,
        moved_slots,
    })
}
