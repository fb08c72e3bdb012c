//! What the operator changes while it runs: by REST, kept over a restart.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::config::{Metric, Service};

/// How a service differs from its configuration. What is absent does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    /// Whether it is scaled at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) enabled: Option<bool>,
    /// Paused until it goes on (`true`), or for so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) paused: Option<Paused>,
    /// Whether decisions are only told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dry_run: Option<bool>,
    /// Replicas at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min: Option<u64>,
    /// Replicas at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max: Option<u64>,
    /// Its priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) priority: Option<i32>,
    /// Thresholds and targets of metrics that it has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) metric: Vec<Metric>,
}

/// Whether a service is paused, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Paused {
    /// Until it goes on, or not at all.
    Is(bool),
    /// For so many seconds.
    For(f64),
}

/// A week, as everywhere.
const LONGEST_PAUSE_S: f64 = 7.0 * 86_400.0;

impl Settings {
    /// Reads what a client sends. `state` with `enabled` or `disabled` is taken as the article's script takes it.
    ///
    /// # Errors
    /// What is not understood.
    pub(super) fn read(json: &Json) -> Result<Self, String> {
        let object = json.as_object().ok_or("an object is needed, as {\"enabled\": true}")?;
        let mut object: Map<String, Json> = object.clone();
        if let Some(state) = object.remove("state") {
            let enabled = match state.as_str() {
                Some("enabled") => true,
                Some("disabled") => false,
                _ => return Err("state is enabled or disabled".to_owned()),
            };
            object.insert("enabled".to_owned(), enabled.into());
        }
        let settings: Self = serde_json::from_value(Json::Object(object)).map_err(|why| why.to_string())?;
        if let Some(Paused::For(seconds)) = settings.paused
            && !(0.0..=LONGEST_PAUSE_S).contains(&seconds)
        {
            return Err(format!("paused is true, false or 0 to {LONGEST_PAUSE_S} seconds"));
        }
        Ok(settings)
    }

    /// Takes what newer ones say.
    pub(super) fn update(&mut self, newer: Self) {
        self.enabled = newer.enabled.or(self.enabled);
        self.paused = newer.paused.or(self.paused);
        self.dry_run = newer.dry_run.or(self.dry_run);
        self.min = newer.min.or(self.min);
        self.max = newer.max.or(self.max);
        self.priority = newer.priority.or(self.priority);
        for metric in newer.metric {
            self.metric.retain(|known| known.metric.key() != metric.metric.key());
            self.metric.push(metric);
        }
    }

    /// The service with these settings.
    ///
    /// # Errors
    /// They do not fit the service: a metric that it has not, or bounds that cannot be.
    pub(super) fn apply(&self, service: &Service) -> Result<Service, String> {
        let mut service = service.clone();
        service.enabled = self.enabled.unwrap_or(service.enabled);
        service.dry_run = self.dry_run.unwrap_or(service.dry_run);
        service.min = self.min.unwrap_or(service.min);
        service.max = self.max.unwrap_or(service.max);
        service.priority = self.priority.unwrap_or(service.priority);
        for changed in &self.metric {
            let key = changed.metric.key();
            let metric = service.metric.iter_mut().find(|metric| metric.metric.key() == key);
            let metric = metric
                .ok_or_else(|| format!("metric: {:?} decides nothing of it", changed.metric.to_string()))?;
            (metric.low, metric.high) = (changed.low.or(metric.low), changed.high.or(metric.high));
            metric.target = changed.target.or(metric.target);
        }
        let problems: Vec<String> = service.problems("service").iter().map(ToString::to_string).collect();
        if problems.is_empty() { Ok(service) } else { Err(problems.join("; ")) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn article() -> Service {
        let config: super::super::config::Config =
            serde_json::from_value(super::super::config::tests::article()).unwrap();
        config.autoscale.service["apache"].clone()
    }

    #[test]
    fn changes_are_laid_over_the_configuration() {
        let mut settings = Settings::read(&json!({"state": "disabled", "max": 20})).unwrap();
        settings.update(Settings::read(&json!({"min": 2, "paused": 60})).unwrap());
        let bytes = json!({"metric": [{"metric": "vir_bytes_in+vir_bytes_out", "high": 200_000}]});
        settings.update(Settings::read(&bytes).unwrap());
        let service = settings.apply(&article()).unwrap();
        assert_eq!((service.enabled, service.min, service.max), (false, 2, 20));
        assert_eq!((service.metric[1].low, service.metric[1].high), (Some(50_000.0), Some(200_000.0)));
        assert_eq!(settings.paused, Some(Paused::For(60.0)));
        let again: Settings = serde_json::from_value(serde_json::to_value(&settings).unwrap()).unwrap();
        assert_eq!(again, settings);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for json in
            [json!([]), json!({"maxx": 1}), json!({"max": "x"}), json!({"state": 1}), json!({"paused": -1})]
        {
            assert!(Settings::read(&json).is_err(), "{json}");
        }
        for (json, says) in [
            (json!({"min": 11}), "service.min"),
            (json!({"metric": [{"metric": "load", "high": 1}]}), "\"load\" decides nothing"),
            (json!({"metric": [{"metric": "vir_cpu_utilization", "target": 1}]}), "service.metric"),
            (json!({"metric": [{"metric": "vir_cpu_utilization", "low": 2}]}), "less than high"),
        ] {
            let why = Settings::read(&json).unwrap().apply(&article()).unwrap_err();
            assert!(why.contains(says), "{json}: {why}");
        }
    }
}
