//! Labels: what the name of a virtual machine or container says about it.
//!
//! Senders put what they know into the name (`vir_host_name`); clients filter and group by its parts.

/// A label.
#[derive(Debug)]
pub struct Label {
    /// Its name in questions and answers.
    pub name: &'static str,
    /// What it shows, for the manual.
    pub shows: &'static str,
    /// The label of what has this name, and is a Java virtual machine or is none.
    pub make: fn(&str, bool) -> Option<&str>,
}

/// Every label.
pub static LABELS: &[Label] = &[
    Label {
        name: "docker_name",
        shows: "the name, where no other label but `swarm_name` has one and Docker would allow it",
        make: docker_name,
    },
    Label {
        name: "swarm_name",
        shows: "`SERVICE` of `SERVICE.SLOT.TASK`, where `TASK` has 25 characters",
        make: swarm_name,
    },
    Label {
        name: "k8s_name",
        shows: "`POD` of `k8s_CONTAINER_POD_NAMESPACE_...`",
        make: |name, _| k8s_part(name, 2),
    },
    Label {
        name: "k8s_namespace",
        shows: "`NAMESPACE` of `k8s_CONTAINER_POD_NAMESPACE_...`",
        make: |name, _| k8s_part(name, 3),
    },
    Label { name: "systemd_service", shows: "`UNIT` of `UNIT.service`", make: systemd_service },
    Label {
        name: "jvm_name",
        shows: "the name, where the data source sends structure 0:2105 or 0:2106",
        make: |name, is_jvm| is_jvm.then_some(name),
    },
];

/// Docker's rule: a letter or digit, then letters, digits, `_`, `.` and `-`.
fn docker_name(name: &str, is_jvm: bool) -> Option<&str> {
    let of_another = is_jvm || systemd_service(name, is_jvm).is_some() || k8s_part(name, 2).is_some();
    let allowed = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    (allowed && !of_another).then_some(name)
}

/// A task's name has three parts; the middle one is a slot, or a node where the service runs on each.
fn swarm_name(name: &str, _: bool) -> Option<&str> {
    let mut parts = name.split('.');
    let (service, slot, task) = (parts.next()?, parts.next()?, parts.next()?);
    let is_task = parts.next().is_none() && task.chars().count() == 25;
    (is_task && !service.is_empty() && !slot.is_empty()).then_some(service)
}

/// A part of the name that Kubernetes gives to a container; its own parts have no underscores.
fn k8s_part(name: &str, place: usize) -> Option<&str> {
    let mut parts = name.split('_');
    let is_k8s = parts.next() == Some("k8s") && name.split('_').filter(|part| !part.is_empty()).count() >= 4;
    parts.nth(place.checked_sub(1)?).filter(|part| is_k8s && !part.is_empty())
}

fn systemd_service(name: &str, _: bool) -> Option<&str> {
    name.strip_suffix(".service").filter(|unit| !unit.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labelled_as_their_senders_mean_them() {
        let labels = |name: &'static str, is_jvm| {
            let made = LABELS.iter().filter_map(|label| Some((label.name, (label.make)(name, is_jvm)?)));
            made.map(|(label, text)| format!("{label}={text}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels("web", false), "docker_name=web");
        let task = "apache.2.0123456789abcdefghijklmno";
        assert_eq!(labels(task, false), format!("docker_name={task} swarm_name=apache"));
        let on_each_node = "agent.abcdefghijklmno0123456789.0123456789abcdefghijklmno";
        assert_eq!(labels(on_each_node, false), format!("docker_name={on_each_node} swarm_name=agent"));
        assert_eq!(labels("apache.2.short", false), "docker_name=apache.2.short");
        assert_eq!(
            labels("a.b.0123456789abcdefghijklmno.c", false),
            "docker_name=a.b.0123456789abcdefghijklmno.c"
        );
        assert_eq!(
            labels("k8s_coredns_coredns-5d78c9869d-abcde_kube-system_0c5d_0", false),
            "k8s_name=coredns-5d78c9869d-abcde k8s_namespace=kube-system"
        );
        assert_eq!(labels("k8s_tools", false), "docker_name=k8s_tools");
        assert_eq!(labels("nginx.service", false), "systemd_service=nginx");
        assert_eq!(labels("tomcat", true), "jvm_name=tomcat");
        assert_eq!(labels("my machine", false), "", "no name that Docker allows");
        assert_eq!(labels(".service", false), "");
    }
}
