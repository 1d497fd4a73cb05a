//! What `/proc` and `/sys` say of the machine as a whole.

use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use super::proc;
use crate::kernel::Kernel;
use crate::platform::Platform;
use crate::task::State;
use crate::time::{CLOCK_TICK, SECOND_NS};

impl<P: Platform> Kernel<P> {
    /// The text of a node that is about no process.
    pub(super) fn fixed_text(&mut self, path: &str) -> String {
        let uptime = self.monotonic_ns();
        match path {
            "proc/cpuinfo" => cpu_info(),
            "proc/loadavg" => {
                let (running, all) = (self.running(), self.task_count());
                format!("0.00 0.00 0.00 {running}/{all} {}\n", self.last_id)
            }
            "proc/meminfo" => self.memory_text(""),
            "sys/devices/system/node/node0/meminfo" => self.memory_text("Node 0 "),
            "proc/stat" => self.system_text(),
            "proc/uptime" => {
                let hundredths = uptime / 10_000_000;
                format!("{}.{:02} 0.00\n", hundredths / 100, hundredths % 100)
            }
            "proc/version" => {
                format!("Linux version {} (cordon) {}\n", crate::syscalls::RELEASE, crate::syscalls::VERSION)
            }
            "proc/sys/kernel/osrelease" => format!("{}\n", crate::syscalls::RELEASE),
            "proc/sys/kernel/hostname" | "proc/sys/kernel/domainname" => {
                let [node, domain] = &self.node_names;
                let name = if path.ends_with("hostname") { node } else { domain };
                format!("{}\n", String::from_utf8_lossy(name))
            }
            "proc/sys/kernel/version" => format!("{}\n", crate::syscalls::VERSION),
            "proc/sys/kernel/random/uuid" => {
                let mut bytes = [0; 16];
                self.random.fill(&mut bytes);
                uuid(bytes)
            }
            "proc/sys/kernel/random/boot_id" => {
                let mut bytes = [0x5a; 16];
                bytes[..8].copy_from_slice(&self.realtime_offset_ns.to_le_bytes());
                uuid(bytes)
            }
            other => String::from(proc::fixed_text(other).unwrap_or("")),
        }
    }

    fn running(&self) -> usize {
        1 + self.tasks.values().filter(|task| task.state == State::Ready).count()
    }

    fn memory_text(&self, prefix: &str) -> String {
        let kib = |bytes: u64| bytes / 1024;
        let (total, free) = (kib(self.frames.total()), kib(self.frames.available()));
        let rows = [
            ("MemTotal", total),
            ("MemFree", free),
            ("MemAvailable", free),
            ("Buffers", 0),
            ("Cached", 0),
            ("SwapCached", 0),
            ("Active", total - free),
            ("Inactive", 0),
            ("SwapTotal", 0),
            ("SwapFree", 0),
            ("Dirty", 0),
            ("Writeback", 0),
            ("AnonPages", total - free),
            ("Mapped", 0),
            ("Shmem", 0),
            ("Slab", 0),
            ("SReclaimable", 0),
            ("SUnreclaim", 0),
            ("PageTables", 0),
            ("CommitLimit", total),
            ("Committed_AS", total - free),
            ("VmallocTotal", 0),
            ("VmallocUsed", 0),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            let _ = writeln!(text, "{prefix}{:<16}{value:>8} kB", format!("{name}:"));
        }
        let _ = write!(
            text,
            "{prefix}HugePages_Total:       0\n{prefix}HugePages_Free:        0\n{prefix}Hugepagesize:       2048 kB\n"
        );
        text
    }

    fn system_text(&mut self) -> String {
        let used: u64 = self.tasks.values().map(|task| task.time).sum::<u64>() + self.task.time;
        let used = used / CLOCK_TICK;
        let idle = (self.platform.reference_time() / CLOCK_TICK).saturating_sub(used);
        let boot = self.realtime_offset_ns / SECOND_NS;
        format!(
            "cpu  {used} 0 0 {idle} 0 0 0 0 0 0\ncpu0 {used} 0 0 {idle} 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime {boot}\n\
             processes {}\nprocs_running {}\nprocs_blocked 0\nsoftirq 0\n",
            self.last_id,
            self.running()
        )
    }
}

fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// The one processor, by what every x86-64 has.
fn cpu_info() -> String {
    let rows = [
        ("processor\t", "0"),
        ("vendor_id\t", "AuthenticAMD"),
        ("cpu family\t", "15"),
        ("model\t\t", "1"),
        ("model name\t", "Cordon virtual processor"),
        ("stepping\t", "0"),
        ("cpu MHz\t\t", "1000.000"),
        ("cache size\t", "512 KB"),
        ("physical id\t", "0"),
        ("siblings\t", "1"),
        ("core id\t\t", "0"),
        ("cpu cores\t", "1"),
        ("apicid\t\t", "0"),
        ("fpu\t\t", "yes"),
        ("fpu_exception\t", "yes"),
        ("cpuid level\t", "13"),
        ("wp\t\t", "yes"),
        ("flags\t\t", "fpu tsc msr pae cx8 pge cmov pat clflush mmx fxsr sse sse2 syscall nx lm"),
        ("bugs\t\t", ""),
        ("bogomips\t", "2000.00"),
        ("clflush size\t", "64"),
        ("cache_alignment\t", "64"),
        ("address sizes\t", "40 bits physical, 48 bits virtual"),
        ("power management", ""),
    ];
    let mut text = String::new();
    for (name, value) in rows {
        let _ = writeln!(text, "{name}: {value}");
    }
    text.push('\n');
    text
}
