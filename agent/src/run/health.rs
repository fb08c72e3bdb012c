//! The agent's own counters as text.

use super::Agent;
use super::engine::Following;
use crate::status::Text;

impl Agent {
    /// Every counter of the agent.
    pub(super) fn health(&self) -> String {
        let mut text = Text::default();
        let uptime = self.started.elapsed().as_secs();
        text.gauge("finderscope_agent_uptime_seconds", "Since the agent started.", &[], uptime);
        text.counter(
            "finderscope_agent_wakes_total",
            "Times that there was something to do.",
            &[],
            self.wakes,
        );
        text.counter(
            "finderscope_agent_reloads_total",
            "Times that the settings were read anew.",
            &[],
            self.reloads,
        );
        self.exported(&mut text);
        if let Some(containers) = &self.containers {
            engine(containers, &mut text);
        }
        self.sampled(&mut text);
        if let Some(status) = &self.status {
            let name = "finderscope_agent_status_refused_total";
            text.counter(
                name,
                "Connections to this page that were closed because there were too many.",
                &[],
                status.refused(),
            );
        }
        text.finish()
    }

    fn exported(&self, text: &mut Text) {
        let exported = self.exporter.exported();
        for (name, help, value) in [
            ("finderscope_agent_datagrams_total", "Datagrams made.", exported.datagrams),
            ("finderscope_agent_bytes_total", "Bytes of the datagrams.", exported.bytes),
            ("finderscope_agent_samples_total", "Samples in the datagrams.", exported.samples),
            ("finderscope_agent_shortened_total", "Samples shortened to fit a datagram.", exported.shortened),
            (
                "finderscope_agent_sources_full_total",
                "Samples left out: too many data sources.",
                exported.sources_full,
            ),
        ] {
            text.counter(name, help, &[], value);
        }
        let collectors = self.exporter.collectors();
        for collector in &collectors {
            let (name, help) =
                ("finderscope_agent_collector_datagrams_total", "Datagrams that the kernel took.");
            text.counter(name, help, &[("collector", &collector.name)], collector.datagrams);
        }
        for collector in &collectors {
            let (name, help) = (
                "finderscope_agent_collector_errors_total",
                "Datagrams that were refused, or had no address to go to.",
            );
            text.counter(name, help, &[("collector", &collector.name)], collector.errors);
        }
    }

    fn sampled(&self, text: &mut Text) {
        let Some(sampler) = self.sampler.as_ref().map(|sampler| sampler.get_ref()) else { return };
        let statuses: Vec<_> = sampler.statuses().collect();
        for status in &statuses {
            let (name, help) = ("finderscope_agent_packet_samples_total", "Packet samples sent.");
            text.counter(name, help, &[("interface", &status.name)], status.samples);
        }
        for status in &statuses {
            let (name, help) =
                ("finderscope_agent_packet_pool_total", "Packets that could have been sampled.");
            text.counter(name, help, &[("interface", &status.name)], status.pool);
        }
        for status in &statuses {
            let (name, help) =
                ("finderscope_agent_packet_drops_total", "Packet samples lost for want of room.");
            text.counter(name, help, &[("interface", &status.name)], status.drops);
        }
        for status in &statuses {
            let (name, help) =
                ("finderscope_agent_packet_unsupported_total", "Samples without a header protocol.");
            text.counter(name, help, &[("interface", &status.name)], status.unsupported);
        }
        let (name, help) = ("finderscope_agent_interfaces_full_total", "Interfaces not sampled: too many.");
        text.counter(name, help, &[], sampler.interfaces_full());
        let (name, help) =
            ("finderscope_agent_bridge_entries_full_total", "Bridge entries left out: too many.");
        text.counter(name, help, &[], sampler.ports_full());
    }
}

fn engine(containers: &Following, text: &mut Text) {
    let (counts, errors) = (containers.counts(), containers.errors());
    let population = containers.population();
    for (name, help, value) in [
        (
            "finderscope_agent_engine_connected",
            "Whether the engine tells its events.",
            containers.is_connected().into(),
        ),
        ("finderscope_agent_containers", "Containers that run.", containers.alive() as u64),
        ("finderscope_agent_containers_open", "Containers with open counters.", population.len() as u64),
        (
            "finderscope_agent_containers_limit",
            "Containers that can be followed at once.",
            containers.room() as u64,
        ),
    ] {
        text.gauge(name, help, &[], value);
    }
    for (name, help, value) in [
        ("finderscope_agent_events_total", "Events of containers.", counts.events),
        ("finderscope_agent_events_duplicate_total", "Events that had come before.", counts.duplicates),
        ("finderscope_agent_events_bad_total", "Lines of the stream that were no events.", errors.lines),
        (
            "finderscope_agent_reconnects_total",
            "Times that the engine was lost or not reached.",
            errors.streams,
        ),
        ("finderscope_agent_lists_total", "Lists of containers.", counts.lists),
        ("finderscope_agent_engine_errors_total", "Questions that the engine did not answer.", errors.calls),
        (
            "finderscope_agent_inspect_failures_total",
            "Inspections that are repeated.",
            counts.inspect_failures,
        ),
        ("finderscope_agent_containers_started_total", "First samples.", counts.firsts),
        ("finderscope_agent_containers_ended_total", "Last samples.", counts.lasts),
        (
            "finderscope_agent_containers_unopened_total",
            "Ended before their counters were opened.",
            counts.unopened,
        ),
        (
            "finderscope_agent_containers_unseen_total",
            "Processes that were not to be seen.",
            population.unseen(),
        ),
        ("finderscope_agent_containers_refused_total", "Not followed: too many.", counts.refused),
    ] {
        text.counter(name, help, &[], value);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_manual_has_every_counter() {
        let manual = include_str!("../../../manual/agent.md");
        let names =
            include_str!("health.rs").split('"').filter(|part| part.starts_with("finderscope_agent_"));
        let names: Vec<&str> = names.collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            assert!(
                name == "finderscope_agent_" || manual.contains(&format!("`{name}`")),
                "manual/agent.md lacks {name}"
            );
        }
    }
}
