//! Tasks of a service: each is one container on some node, or what has become of it.

use serde::Deserialize;

use crate::error::shown;
use crate::id::Id;

/// How far a task is. The order is that of its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Not assigned to a node yet: `new`, `allocated` or `pending`.
    Pending,
    /// A node has it and prepares its container: `assigned`, `accepted`, `preparing`, `ready` or `starting`.
    Starting,
    /// Its container runs.
    Running,
    /// It ended by itself, or was ended: `complete`, `shutdown`, `failed` or `rejected`.
    Ended,
    /// It is being removed, or its node is gone: `remove` or `orphaned`.
    Gone,
    /// The engine does not say, or says what is not known here.
    #[default]
    Unknown,
}

impl TaskState {
    fn of(text: &str) -> Self {
        match text {
            "new" | "allocated" | "pending" => Self::Pending,
            "assigned" | "accepted" | "preparing" | "ready" | "starting" => Self::Starting,
            "running" => Self::Running,
            "complete" | "shutdown" | "failed" | "rejected" => Self::Ended,
            "remove" | "orphaned" => Self::Gone,
            _ => Self::Unknown,
        }
    }
}

/// A port of a task's container that its node publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Such as `tcp`.
    pub protocol: String,
    /// The container's port.
    pub target: u16,
    /// The node's port.
    pub published: u16,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// The service that it is of.
    pub service_id: String,
    /// Which of the replicas it is, from 1; absent for a global service.
    pub slot: Option<u64>,
    /// The node that it was given to.
    pub node_id: Option<String>,
    /// How far it is.
    pub state: TaskState,
    /// How far it should be: `Running`, or further when it is to end.
    pub desired: TaskState,
    /// Its container, when there is one.
    pub container: Option<Id>,
    /// The ports that are published on its node.
    pub ports: Vec<Port>,
    /// What went wrong, in the engine's words: any text, empty for nothing.
    pub error: String,
}

impl Task {
    /// Whether its container runs and is to go on.
    pub fn is_running(&self) -> bool {
        (self.state, self.desired) == (TaskState::Running, TaskState::Running)
    }

    /// The name of its container when its service has this name.
    pub fn container_name(&self, service: &str) -> String {
        match (self.slot, &self.node_id) {
            (Some(slot), _) => format!("{service}.{slot}.{}", self.id),
            (None, Some(node)) => format!("{service}.{node}.{}", self.id),
            (None, None) => format!("{service}.{}", self.id),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "ServiceID")]
    service_id: Option<String>,
    slot: Option<u64>,
    #[serde(rename = "NodeID")]
    node_id: Option<String>,
    status: Option<StatusAnswer>,
    desired_state: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatusAnswer {
    state: Option<String>,
    err: Option<String>,
    container_status: Option<ContainerAnswer>,
    port_status: Option<PortsAnswer>,
}

#[derive(Deserialize)]
struct ContainerAnswer {
    #[serde(rename = "ContainerID")]
    id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortsAnswer {
    ports: Option<Vec<PortAnswer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PortAnswer {
    protocol: Option<String>,
    target_port: Option<u16>,
    published_port: Option<u16>,
}

impl Task {
    /// Reads the answer of `GET /tasks`, in the order of slots. An engine keeps some that have ended for each slot.
    ///
    /// # Errors
    /// It is no list of tasks; the text says what is wrong.
    pub(crate) fn read_list(body: &[u8]) -> Result<Vec<Self>, String> {
        let answer: Option<Vec<Answer>> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut tasks =
            answer.unwrap_or_default().into_iter().map(Self::of).collect::<Result<Vec<_>, _>>()?;
        tasks.sort_by(|a, b| (a.slot, &a.id).cmp(&(b.slot, &b.id)));
        Ok(tasks)
    }

    fn of(answer: Answer) -> Result<Self, String> {
        let status = answer.status.unwrap_or_default();
        let state = |text: Option<String>| text.map_or(TaskState::Unknown, |text| TaskState::of(&text));
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let container = given(status.container_status.and_then(|container| container.id));
        let container = container
            .map(|text| text.parse::<Id>().map_err(|error| format!("ContainerID {}: {error}", shown(&text))))
            .transpose()?;
        let ports = status.port_status.and_then(|status| status.ports).unwrap_or_default();
        Ok(Self {
            id: answer.id,
            service_id: answer.service_id.unwrap_or_default(),
            slot: answer.slot.filter(|slot| *slot > 0),
            node_id: given(answer.node_id),
            state: state(status.state),
            desired: state(answer.desired_state),
            container,
            ports: ports.into_iter().filter_map(Port::of).collect(),
            error: status.err.unwrap_or_default(),
        })
    }
}

impl Port {
    fn of(answer: PortAnswer) -> Option<Self> {
        let (target, published) = (answer.target_port?, answer.published_port.filter(|port| *port > 0)?);
        Some(Self { protocol: answer.protocol.unwrap_or_default(), target, published })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_run_begin_end_and_are_of_no_slot() {
        let id = "ab".repeat(32);
        let body = format!(
            r#"[{{"ID":"t2","ServiceID":"s","Slot":2,"NodeID":"n","DesiredState":"running","Status":{{"State":"running",
                "ContainerStatus":{{"ContainerID":"{id}","PID":7}},"PortStatus":{{"Ports":[
                {{"Protocol":"tcp","TargetPort":80,"PublishedPort":32768,"PublishMode":"host"}},
                {{"Protocol":"udp","TargetPort":53}}]}}}}}},
               {{"ID":"t1","ServiceID":"s","Slot":1,"DesiredState":"remove","Status":{{"State":"failed","Err":"a\nb",
                "ContainerStatus":{{"ContainerID":""}},"PortStatus":{{}}}}}},
               {{"ID":"t3","ServiceID":"s","NodeID":"n","DesiredState":"shutdown","Status":{{"State":"running"}}}},
               {{"ID":"t4","ServiceID":"s","Slot":4,"NodeID":"","DesiredState":"running","Status":{{"State":"asleep"}}}}]"#
        );
        let tasks = Task::read_list(body.as_bytes()).unwrap();
        let [global, failed, running, strange] = &tasks[..] else { panic!("{tasks:?}") };
        assert!(
            running.is_running() && !failed.is_running() && !global.is_running() && !strange.is_running()
        );
        assert_eq!((running.slot, running.container), (Some(2), Some(id.parse().unwrap())));
        let port = Port { protocol: "tcp".to_owned(), target: 80, published: 32768 };
        assert_eq!(
            (running.ports.as_slice(), running.container_name("web")),
            (&[port][..], "web.2.t2".to_owned())
        );
        assert_eq!(
            (failed.state, failed.desired, failed.container),
            (TaskState::Ended, TaskState::Gone, None)
        );
        assert_eq!((failed.error.as_str(), failed.node_id.as_deref()), ("a\nb", None));
        assert_eq!((global.slot, global.container_name("all")), (None, "all.n.t3".to_owned()));
        assert_eq!((strange.state, strange.node_id.as_deref()), (TaskState::Unknown, None));
        assert_eq!(Task::read_list(b"null").unwrap(), []);
        let wrong = r#"[{"ID":"t","Status":{"ContainerStatus":{"ContainerID":"x\ny"}}}]"#;
        assert!(Task::read_list(wrong.as_bytes()).unwrap_err().starts_with("ContainerID x\\ny: "));
    }

    #[test]
    fn states_are_in_the_order_of_a_life() {
        let words = [
            ["new", "allocated", "pending"],
            ["preparing", "ready", "starting"],
            ["running", "running", "running"],
            ["complete", "failed", "rejected"],
            ["remove", "orphaned", "remove"],
        ];
        let states: Vec<TaskState> = words.iter().flatten().map(|word| TaskState::of(word)).collect();
        assert!(states.is_sorted() && states.iter().all(|state| *state != TaskState::Unknown), "{states:?}");
    }
}
