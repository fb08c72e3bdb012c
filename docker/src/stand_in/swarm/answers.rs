//! What the stand-in's swarm says of its services, tasks and containers, as engines write it.

use std::time::Instant;

use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::{Refusal, Service, Swarm, Task, unknown};

impl Swarm {
    /// The answer about a service.
    pub(in crate::stand_in) fn service(&self, name_or_id: &str, now: Instant) -> Result<String, Refusal> {
        let service = self.services.get(self.find(name_or_id)?).ok_or_else(|| unknown(name_or_id))?;
        Ok(self.described(service, false, now))
    }

    /// The answer with all services, with the numbers of tasks where they are asked for.
    pub(in crate::stand_in) fn services(&self, status: bool, now: Instant) -> String {
        let all: Vec<String> =
            self.services.iter().map(|service| self.described(service, status, now)).collect();
        format!("[{}]", all.join(","))
    }

    fn described(&self, service: &Service, status: bool, now: Instant) -> String {
        let mut text = format!(
            r#"{{"ID":"{}","Version":{{"Index":{}}},"CreatedAt":"{}","UpdatedAt":"{}","Spec":{}"#,
            service.id,
            service.index,
            self.date(service.made),
            self.date(service.changed),
            service.spec
        );
        if let Some(previous) = &service.previous {
            text += &format!(r#","PreviousSpec":{previous}"#);
        }
        text += r#","Endpoint":{"Spec":{}}"#;
        if let Some(until) = service.rolls {
            let state = if now < until { "updating" } else { "completed" };
            text += &format!(r#","UpdateStatus":{{"State":"{state}","Message":"update {state}"}}"#);
        }
        if status {
            let running = service.tasks.iter().filter(|task| task.runs(now)).count();
            let counts = format!(r#""RunningTasks":{running},"DesiredTasks":{}"#, service.replicas);
            text += &format!(r#","ServiceStatus":{{{counts},"CompletedTasks":0}}"#);
        }
        text + "}"
    }

    /// The answer with the tasks of these services, by name or id; of all when none is named.
    pub(in crate::stand_in) fn tasks(&self, services: &[String], desired: &[String], now: Instant) -> Value {
        let asked = |service: &&Service| {
            services.is_empty() || services.iter().any(|asked| [&service.id, &service.name].contains(&asked))
        };
        let tasks = self.services.iter().filter(asked).flat_map(|service| {
            let wanted = |task: &&Task| desired.is_empty() || desired.iter().any(|one| one == task.desired());
            service.tasks.iter().filter(wanted).map(|task| self.task_described(service, task, now))
        });
        tasks.collect()
    }

    fn task_described(&self, service: &Service, task: &Task, now: Instant) -> Value {
        let state = task.state(now);
        let mut status = json!({
            "Timestamp": self.date(now.min(task.starts)),
            "State": state,
            "Message": if state == "running" { "started" } else { state },
            "PortStatus": {},
        });
        if task.starts <= now {
            let process = if state == "running" { task.process } else { 0 };
            status["ContainerStatus"] =
                json!({ "ContainerID": task.container.to_string(), "PID": process, "ExitCode": 0 });
        }
        json!({
            "ID": task.id,
            "Version": { "Index": service.index },
            "CreatedAt": self.date(task.made),
            "UpdatedAt": self.date(now.min(task.starts)),
            "Labels": {},
            "Spec": service.template,
            "ServiceID": service.id,
            "Slot": task.slot,
            "NodeID": self.nodes.get(task.node),
            "Status": status,
            "DesiredState": task.desired(),
        })
    }

    /// The answer with the containers that run.
    pub(in crate::stand_in) fn containers(&self, now: Instant) -> Value {
        let running = self.running_tasks(now).map(|(service, task)| {
            json!({
                "Id": task.container.to_string(),
                "Names": [format!("/{}", task.name(service))],
                "Image": service.template["ContainerSpec"]["Image"],
                "State": "running",
                "Status": "Up",
                "Labels": labels(service, task),
            })
        });
        running.collect()
    }

    /// The answer about a container that runs.
    pub(in crate::stand_in) fn container(&self, id: &str, now: Instant) -> Result<Value, Refusal> {
        let found = self.running_tasks(now).find(|(_, task)| task.container.to_string() == id);
        let (service, task) = found.ok_or_else(|| (404, format!("No such container: {id}")))?;
        Ok(json!({
            "Id": task.container.to_string(),
            "Name": format!("/{}", task.name(service)),
            "State": {
                "Status": "running", "Running": true, "Pid": task.process, "StartedAt": self.date(task.starts),
            },
            "Config": {
                "Image": service.template["ContainerSpec"]["Image"],
                "Hostname": task.container.short(),
                "Labels": labels(service, task),
            },
            "HostConfig": { "NetworkMode": "default" },
            "NetworkSettings": { "Networks": {} },
        }))
    }

    fn date(&self, at: Instant) -> String {
        let (instant, date) = self.epoch;
        (date + at.saturating_duration_since(instant)).format(&Rfc3339).unwrap_or_default()
    }
}

fn labels(service: &Service, task: &Task) -> Value {
    json!({
        "com.docker.swarm.service.id": service.id,
        "com.docker.swarm.service.name": service.name,
        "com.docker.swarm.task.id": task.id,
        "com.docker.swarm.task.name": task.name(service),
    })
}
