//! What the tables were measured on, as the system tells it.

use std::{fs, process::Command, thread, time::Duration};

/// The processor, its caches and the compiler, in one line; what the system does not tell is left out.
#[must_use]
pub fn description() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let known = [processor(), Some(format!("{cores} cores")), caches(), compiler()];
    known.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The share of the processors, from 0 to 1, that others keep busy for a second in which this thread sleeps; `None` where
/// the system does not tell.
#[must_use]
pub fn busy() -> Option<f64> {
    // user, nice, system, idle, iowait, irq, softirq, steal: ticks since the start.
    let ticks = || -> Option<(u64, u64)> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let line = text.lines().next()?.split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = line.map(|number| number.parse().ok()).collect::<Option<_>>()?;
        Some((ticks.iter().sum(), ticks.get(3)? + ticks.get(4)?))
    };
    let (all, idle) = ticks()?;
    thread::sleep(Duration::from_secs(1));
    let (all_later, idle_later) = ticks()?;
    let elapsed = all_later.checked_sub(all).filter(|&elapsed| elapsed > 0)?;
    Some(1.0 - idle_later.saturating_sub(idle) as f64 / elapsed as f64)
}

/// The name of the processor, and the widest vectors that it has.
fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let field = |name: &str| {
        text.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name)).map(|(_, value)| value)
    };
    let name = field("model name")?.trim();
    let features = field("flags").unwrap_or_default();
    let has = |feature: &str| features.split_whitespace().any(|flag| flag == feature);
    let vectors = ["avx512f", "avx2"].into_iter().find(|feature| has(feature));
    let numbers = field("cpu family").zip(field("model")).map(|(family, model)| {
        format!(
            " (family {}, model {}{})",
            family.trim(),
            model.trim(),
            vectors.map_or(String::new(), |v| format!(", {v}"))
        )
    });
    Some(format!("{name}{}", numbers.unwrap_or_default()))
}

/// The caches of the first core that hold data.
fn caches() -> Option<String> {
    let read = |index: usize, name: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    let cache = |index: usize| {
        let (level, kind, size) = (read(index, "level")?, read(index, "type")?, read(index, "size")?);
        Some((kind != "Instruction").then(|| format!("L{level} {size}")))
    };
    let found: Vec<String> = (0..).map_while(cache).flatten().collect();
    (!found.is_empty()).then(|| found.join(", "))
}

/// The compiler on the path.
fn compiler() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    Some(version.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}
