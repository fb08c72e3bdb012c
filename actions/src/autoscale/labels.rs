//! Services found by their labels: `finderscope.autoscale.KEY` is the key of the configuration's table.
//!
//! A set of labels is taken whole or not at all: half of what somebody meant is not what he meant.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::config::Service;

/// What all labels begin with.
pub const PREFIX: &str = "finderscope.autoscale.";

/// Labels of a service that are looked at, at most.
const MOST_LABELS: usize = 64;

/// What the labels of a service say; `None` where none of them is about this.
///
/// # Errors
/// What is wrong with them; none of them is taken.
pub fn read<'l>(labels: impl IntoIterator<Item = (&'l str, &'l str)>) -> Option<Result<Service, String>> {
    let ours: BTreeMap<&str, &str> = labels
        .into_iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)))
        .take(MOST_LABELS + 1)
        .collect();
    if ours.is_empty() { None } else { Some(service(&ours)) }
}

fn service(labels: &BTreeMap<&str, &str>) -> Result<Service, String> {
    if labels.len() > MOST_LABELS {
        return Err(format!("there are more than {MOST_LABELS} labels {PREFIX}*"));
    }
    let mut object = Map::new();
    for (name, value) in labels {
        match *name {
            // Where a service is, and what it is called, the swarm says.
            "swarm" | "service" | "metric" => return Err(format!("{PREFIX}{name} is no label")),
            "metrics" => put(&mut object, "metric", metrics(value, &["low", "high", "target"]))?,
            "sick.metrics" => {
                put(&mut object, "sick.metric", metrics(value, &["above", "below", "least"]))?;
            }
            name => put(&mut object, name, Ok(scalar(value)))?,
        }
    }
    let service: Service = serde_json::from_value(Json::Object(object))
        .map_err(|why| format!("the labels {PREFIX}* are not understood: {why}"))?;
    let problems: Vec<String> =
        service.problems(PREFIX.trim_end_matches('.')).iter().map(ToString::to_string).collect();
    if problems.is_empty() { Ok(service) } else { Err(problems.join("; ")) }
}

/// Puts a value under a name with points: `up.step` is the step of up.
fn put(object: &mut Map<String, Json>, name: &str, value: Result<Json, String>) -> Result<(), String> {
    let value = value.map_err(|why| format!("{PREFIX}{name}: {why}"))?;
    match name.split_once('.') {
        None => {
            object.insert(name.to_owned(), value);
            Ok(())
        }
        Some((table, rest)) if !rest.contains('.') => {
            let inner = object.entry(table).or_insert_with(|| json!({}));
            let inner = inner.as_object_mut().ok_or_else(|| format!("{PREFIX}{table} has no {rest}"))?;
            inner.insert(rest.to_owned(), value);
            Ok(())
        }
        Some(_) => Err(format!("{PREFIX}{name} is no label")),
    }
}

/// Labels are texts; keys are numbers, true, false and words.
fn scalar(text: &str) -> Json {
    let text = text.trim();
    match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => json!(number),
            (_, Ok(number)) if number.is_finite() => json!(number),
            _ => json!(text),
        },
    }
}

/// `vir_cpu_utilization low=0.5 high=1; vir_bytes_in+vir_bytes_out low=50000 high=100000`.
fn metrics(text: &str, known: &[&str]) -> Result<Json, String> {
    let mut metrics = Vec::new();
    for one in text.split(';').map(str::trim).filter(|one| !one.is_empty()) {
        let mut object = Map::new();
        let mut expression = Vec::new();
        for word in one.split_whitespace() {
            let Some((name, value)) = word.split_once('=') else {
                expression.push(word);
                continue;
            };
            if !known.contains(&name) {
                return Err(format!("{name:?} is none of {}", known.join(", ")));
            }
            let number: f64 = value.parse().map_err(|_| format!("{word:?}: {value:?} is no number"))?;
            if object.insert(name.to_owned(), json!(number)).is_some() {
                return Err(format!("{name:?} is there twice in {one:?}"));
            }
        }
        object.insert("metric".to_owned(), json!(expression.join(" ")));
        metrics.push(Json::Object(object));
    }
    Ok(Json::Array(metrics))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)]) -> Option<Result<Service, String>> {
        let named: Vec<(String, &str)> =
            labels.iter().map(|(name, value)| (format!("{PREFIX}{name}"), *value)).collect();
        let others = [("com.docker.stack.namespace", "shop"), ("finderscope.other", "1")];
        read(named.iter().map(|(name, value)| (name.as_str(), *value)).chain(others))
    }

    #[test]
    fn the_articles_service_as_labels() {
        let service = of(&[
            ("min", "1"),
            ("max", "10"),
            (
                "metrics",
                "vir_cpu_utilization low=0.5 high=1; vir_bytes_in + vir_bytes_out low=50000 high=100000",
            ),
            ("priority", "-5"),
            ("up.cooldown_s", "2.5"),
            ("down.step", "2"),
            ("dry_run", "true"),
            ("missing", "up_only"),
            ("sick.metrics", "cpu_steal above=3 least=10"),
            ("sick.replace", "true"),
        ]);
        let service = service.unwrap().unwrap();
        let article: super::super::config::Config =
            serde_json::from_value(super::super::config::tests::article()).unwrap();
        let expected = article.autoscale.service["apache"].metric.clone();
        assert_eq!(service.metric, expected);
        assert_eq!((service.max, service.priority, service.dry_run), (10, -5, true));
        assert_eq!((service.up.cooldown_s, service.down.step), (2.5, Some(2)));
        let sick = service.sick.unwrap();
        assert!(sick.replace);
        assert_eq!((sick.metric[0].above, sick.metric[0].least), (Some(3.0), 10.0));
    }

    #[test]
    fn services_without_labels_are_none() {
        assert!(of(&[]).is_none());
    }

    #[test]
    fn a_set_that_is_wrong_is_refused_whole() {
        let metric = ("metrics", "load target=1");
        for (labels, says) in [
            (vec![("max", "10")], "names 1 to 16 metrics"),
            (vec![metric, ("maxx", "10")], "maxx"),
            (vec![metric, ("max", "ten")], "ten"),
            (vec![metric, ("max", "-1")], "-1"),
            (vec![metric, ("min", "11")], "finderscope.autoscale.min: 11 must be"),
            (vec![metric, ("swarm", "other")], "swarm is no label"),
            (vec![metric, ("up.step.more", "1")], "up.step.more"),
            (vec![metric, ("max.step", "1"), ("max", "2")], "max"),
            (vec![("metrics", "load target=x")], "no number"),
            (vec![("metrics", "load goal=1")], "\"goal\""),
            (vec![("metrics", "load low=1 low=2 high=3")], "twice"),
            (vec![("metrics", "target=1")], "no metric"),
        ] {
            let why = of(&labels).unwrap().unwrap_err();
            assert!(why.contains(says), "{labels:?}: {why}");
        }
        let many: Vec<(String, String)> =
            (0..70).map(|number| (format!("{PREFIX}x{number}"), "1".to_owned())).collect();
        let many = read(many.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        assert!(many.unwrap().unwrap_err().contains("more than 64"));
    }
}
