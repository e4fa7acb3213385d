//! How much of the program's own text an idle agent keeps mapped.
//!
//! One binary holds every role, and the kernel maps sixteen pages around each one that is touched: at rest an agent has
//! 1 MiB of its own memory and some 14 MiB of program text mapped that it used once. The text is clean, file-backed and
//! shared; unmapping it costs a soft fault when it is used again, and loses nothing.

use std::time::Duration;

use rustix::mm::{Advice, madvise};
use tokio::sync::watch;

/// How long an agent is at rest before its text is unmapped, and before it is again: a deployment soon after another
/// one finds it mapped.
const REST: Duration = Duration::from_secs(10);

/// Unmaps the program's text whenever no `work` was noted for a while, for as long as it is polled.
pub async fn keep_small(mut work: watch::Receiver<()>) {
    loop {
        match tokio::time::timeout(REST, work.changed()).await {
            Ok(Ok(())) => (),
            // The agent ends, and so does whoever polls this.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => unmap_text(),
        }
    }
}

fn unmap_text() {
    // Without /proc nothing is unmapped, and nothing else depends on it.
    let (Ok(maps), Ok(program)) = (std::fs::read_to_string("/proc/self/maps"), std::env::current_exe())
    else {
        return;
    };
    let program = program.to_string_lossy();
    for (start, length) in maps.lines().filter_map(|line| untouched_mapping(line, &program)) {
        give_back(start, length);
    }
}

/// Returns a mapping of the program that can not have been written to: executable text, or the read-only data at the
/// file's beginning, before anything that the loader relocates.
fn untouched_mapping(line: &str, program: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let is_programs = line.ends_with(program);
    let is_clean = rights == "r-xp" || (rights == "r--p" && offset.bytes().all(|digit| digit == b'0'));
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    (is_programs && is_clean).then_some((start, end.checked_sub(start)?))
}

#[allow(unsafe_code, reason = "there is no safe way to give pages back; the safety argument stands below")]
fn give_back(start: usize, length: usize) {
    // SAFETY: the range is a private, file-backed mapping of this program that was never writable since it was mapped
    // (text, and the headers and constants before the first relocation). Its pages equal the file's, and the kernel maps
    // them again from there when they are touched, also while this function runs.
    let unmapped = unsafe { madvise(start as *mut core::ffi::c_void, length, Advice::LinuxDontNeed) };
    if let Err(error) = unmapped {
        tracing::debug!(%error, "the program's text stays mapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_unmapped() {
        let lines = "\
5000-6000 r--p 00000000 fe:00 1 /bin/footplate
6000-9000 r-xp 00001000 fe:00 1 /bin/footplate
9000-a000 r--p 00004000 fe:00 1 /bin/footplate
a000-b000 rw-p 00005000 fe:00 1 /bin/footplate
b000-c000 rw-p 00000000 00:00 0 [heap]
c000-d000 r-xp 00001000 fe:00 2 /usr/lib/libc.so.6";
        let found: Vec<_> =
            lines.lines().filter_map(|line| untouched_mapping(line, "/bin/footplate")).collect();
        assert_eq!(found, [(0x5000, 0x1000), (0x6000, 0x3000)]);
    }

    /// Returns how much of the program's executable text is mapped, in KiB.
    fn mapped_text() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("Linux has it");
        let program = std::env::current_exe().expect("it runs");
        let program = program.to_string_lossy();
        let text = maps
            .lines()
            .skip_while(|line| !(line.contains(" r-xp ") && line.ends_with(program.as_ref())))
            .find_map(|line| line.strip_prefix("Rss:"))
            .expect("the text is there");
        text.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    #[test]
    fn the_program_goes_on_after_its_text_was_unmapped() {
        let constant = std::hint::black_box("a constant in the program");
        let begun = std::time::Instant::now();
        // The tests beside this one touch the same text; some moment finds it unmapped.
        loop {
            let text = mapped_text();
            unmap_text();
            let rest = mapped_text();
            if rest < text {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{rest} of {text} KiB stay mapped");
        }
        assert_eq!(std::hint::black_box(constant).len(), 25);
        assert_eq!(format!("{:?}", Duration::from_millis(1500)), "1.5s");
    }
}
