//! Processors: `/proc/stat`, `/proc/loadavg`, `/proc/uptime`, `/proc/cpuinfo`; records 0:2003 and 0:2100.

use decode::counter;

use super::memory::Info;
use super::row::{Cell, Row};

/// Columns of the line `cpu` in the order of the kernel: user, nice, system, idle, iowait, irq, softirq, steal, guest,
/// guest_nice. Kernels have added them one by one.
const COLUMNS: usize = 10;

/// What `/proc/stat` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// Times of all processors, in ticks.
    ticks: [Option<u64>; COLUMNS],
    /// Processors that are on-line.
    pub(super) processors: Option<u32>,
    interrupts: Option<u64>,
    contexts: Option<u64>,
}

impl Stat {
    /// Reads the text; none if it does not tell the times.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut stat = Self::default();
        let (mut found, mut processors) = (false, 0);
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("cpu") => {
                    found = true;
                    for (place, word) in stat.ticks.iter_mut().zip(words) {
                        *place = word.parse().ok();
                    }
                }
                Some("intr") => stat.interrupts = words.next().and_then(|word| word.parse().ok()),
                Some("ctxt") => stat.contexts = words.next().and_then(|word| word.parse().ok()),
                Some(name) if is_processor(name) => processors += 1,
                _ => {}
            }
        }
        stat.processors = (processors > 0).then_some(processors);
        found.then_some(stat)
    }
}

fn is_processor(name: &str) -> bool {
    name.strip_prefix("cpu").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What `/proc/loadavg` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    averages: [Option<f32>; 3],
    running: Option<u32>,
    processes: Option<u32>,
}

impl Load {
    pub(super) fn parse(text: &str) -> Self {
        let mut words = text.split_ascii_whitespace();
        let mut load = Self::default();
        for average in &mut load.averages {
            *average =
                words.next().and_then(|word| word.parse().ok()).filter(|value: &f32| value.is_finite());
        }
        if let Some((running, processes)) = words.next().and_then(|word| word.split_once('/')) {
            load.running = running.parse().ok();
            load.processes = processes.parse().ok();
        }
        load
    }
}

/// Whole seconds since the start, of `/proc/uptime`.
pub(super) fn uptime_s(text: &str) -> Option<u64> {
    text.split(['.', ' ', '\n']).next()?.parse().ok()
}

/// The clock of the first processor in MHz: `cpu MHz` of `/proc/cpuinfo`, else the most that cpufreq says (kHz).
pub(super) fn mhz(cpuinfo: &str, most_khz: Option<&str>) -> Option<u32> {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let clock =
        lines.filter(|(name, _)| matches!(name.trim(), "cpu MHz" | "clock")).find_map(|(_, value)| {
            value.trim().trim_end_matches("MHz").split('.').next().and_then(|whole| whole.parse().ok())
        });
    clock.or_else(|| most_khz.and_then(|text| text.trim().parse::<u32>().ok()).map(|khz| khz / 1000))
}

/// 0:2003, times in milliseconds.
pub(super) fn row(
    stat: &Stat,
    load: &Load,
    uptime_s: Option<u64>,
    mhz: Option<u32>,
    ticks_per_second: u64,
) -> Option<Row> {
    let ms = |ticks: Option<u64>| {
        let ticks_per_second = u128::from(ticks_per_second.max(1));
        // The counter wraps at 32 bits; the product may need more than 64.
        ticks.map(|ticks| u128::from(ticks) * 1000 / ticks_per_second).map(|ms| ms & u128::from(u64::MAX))
    };
    let time = |ticks| Cell::from(ms(ticks).and_then(|ms| u64::try_from(ms).ok()));
    let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = stat.ticks;
    let [one, five, fifteen] = load.averages;
    let cells = [
        one.into(),
        five.into(),
        fifteen.into(),
        load.running.into(),
        load.processes.into(),
        stat.processors.into(),
        mhz.into(),
        uptime_s.into(),
        time(user),
        time(nice),
        time(system),
        time(idle),
        time(iowait),
        time(irq),
        time(softirq),
        stat.interrupts.into(),
        stat.contexts.into(),
        time(steal),
        time(guest),
        time(guest_nice),
    ];
    Row::new(&counter::HOST_CPU, 17, &cells)
}

/// 0:2100.
pub(super) fn node_row(mhz: Option<u32>, stat: &Stat, memory: &Info, containers: u32) -> Option<Row> {
    let cells = [
        mhz.into(),
        stat.processors.into(),
        memory.total.into(),
        memory.free.into(),
        Cell::Number(containers.into()),
    ];
    Row::new(&counter::VIRT_NODE, cells.len(), &cells)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn stat_of_256_processors() {
        let mut text = String::from("cpu  1 2 3 4 5 6 7 8 9 10\n");
        for cpu in 0..256 {
            text.push_str(&format!("cpu{cpu} 1 2 3 4 5 6 7 8 9 10\n"));
        }
        text.push_str(&format!("intr 77{}\nctxt 88\nbtime 1\n", " 0".repeat(4096)));
        let stat = Stat::parse(&text).unwrap();
        assert_eq!(stat.processors, Some(256));
        assert_eq!((stat.interrupts, stat.contexts), (Some(77), Some(88)));
        assert_eq!(stat.ticks, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(Some));
    }

    #[test]
    fn lines_and_columns_that_are_missing_or_new() {
        assert_eq!(Stat::parse(""), None);
        assert_eq!(Stat::parse("cpufreq 3\nctxt 1\n"), None);
        let stat = Stat::parse("cpu 1 2 3 4 5 6 7\nsomething new 9 9\ncpufreq 3\n").unwrap();
        assert_eq!(
            stat.ticks.map(|ticks| ticks.is_some()),
            [true, true, true, true, true, true, true, false, false, false]
        );
        assert_eq!((stat.processors, stat.interrupts), (None, None));
        let stat = Stat::parse("cpu 1 2 3 4 5 6 7 8 9 10 11 12\n").unwrap();
        assert_eq!(stat.ticks[9], Some(10));
        let stat = Stat::parse("cpu 99999999999999999999999 2 x -4\nintr\n").unwrap();
        assert_eq!(stat.ticks[..4], [None, Some(2), None, None]);
    }

    #[test]
    fn load_and_uptime() {
        let load = Load::parse("5.69 6.13 4.90 12/215 9999\n");
        assert_eq!(
            load,
            Load { averages: [Some(5.69), Some(6.13), Some(4.9)], running: Some(12), processes: Some(215) }
        );
        assert_eq!(Load::parse(""), Load::default());
        assert_eq!(Load::parse("nan inf 1 2"), Load { averages: [None, None, Some(1.0)], ..Load::default() });
        assert_eq!(uptime_s("2103.55 9001.17\n"), Some(2103));
        assert_eq!(uptime_s("x"), None);
    }

    #[test]
    fn the_clock_of_every_architecture() {
        assert_eq!(mhz("processor\t: 0\ncpu MHz\t\t: 2596.990\ncpu MHz : 1.0\n", Some("9")), Some(2596));
        assert_eq!(mhz("processor : 0\nBogoMIPS : 50.00\n", Some("2400000\n")), Some(2400));
        assert_eq!(mhz("processor : 0\nclock\t\t: 3425.000000MHz\n", None), Some(3425));
        assert_eq!(mhz("", None), None);
    }
}
