//! How much memory this process has held.

use std::fs;

/// The most bytes of physical memory this process has held at once.
///
/// Linux tells it, in the line `VmHWM:  1234 kB` of `/proc/self/status`; elsewhere there
/// is none.
pub fn peak_resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = peak.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kibibytes * 1024)
}
