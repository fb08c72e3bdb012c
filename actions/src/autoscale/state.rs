//! What the autoscaler knows: all services and swarms, what the operator has changed, and who has which share. No I/O.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::budget::{Claim, allocate};
use super::config::{Config, MOST_SERVICES, Service, Swarm, is_service_name, seconds};
use super::decision::Decision;
use super::entry::{Entry, Found};
use super::labels;
use super::observation::Observation;
use super::policy::Pause;
use super::settings::{Paused, Settings};
use super::sick::Finding;
use crate::text::shown;

/// What changes of all services together are counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// What is known of a swarm.
#[derive(Debug, Default)]
pub(super) struct SwarmState {
    /// Why its managers do not answer.
    pub(super) trouble: Option<String>,
    /// Failures by kind.
    pub(super) failures: BTreeMap<&'static str, u64>,
    /// Why the labels of services are not taken, by service.
    pub(super) refused: BTreeMap<String, String>,
}

/// Something that somebody should be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct News {
    pub(super) what: &'static str,
    pub(super) text: String,
    pub(super) warning: bool,
}

/// What is to be looked at in a swarm.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its name here.
    pub(super) name: String,
    /// Its name in the swarm.
    pub(super) service: String,
    pub(super) rules: Service,
}

/// A decision with what it is about.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) wanted: Wanted,
    pub(super) decision: Decision,
    /// Whether the decision differs from the last one.
    pub(super) is_news: bool,
    pub(super) news: Vec<News>,
    pub(super) sick: Option<Finding>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: Config,
    pub(super) services: BTreeMap<String, Entry>,
    pub(super) swarms: BTreeMap<String, SwarmState>,
    /// What the operator has changed, also of services that are not there now.
    pub(super) settings: BTreeMap<String, Settings>,
    /// The changes of the last minute.
    recent: VecDeque<Duration>,
}

impl State {
    pub(super) fn new(config: Config, settings: BTreeMap<String, Settings>, now: Duration) -> Self {
        let mut state = Self {
            config: Config::default(),
            services: BTreeMap::new(),
            swarms: BTreeMap::new(),
            settings,
            recent: VecDeque::new(),
        };
        state.set_config(config, now);
        state
    }

    /// Goes by another configuration. What is known of services that stay is kept.
    pub(super) fn set_config(&mut self, config: Config, now: Duration) {
        self.swarms.retain(|name, _| config.swarm.contains_key(name));
        for name in config.swarm.keys() {
            self.swarms.entry(name.clone()).or_default();
        }
        let stays = |name: &str, entry: &Entry| match entry.found {
            Found::Labels => {
                config.swarm.contains_key(&entry.swarm) && !config.autoscale.service.contains_key(name)
            }
            Found::Configuration => config.autoscale.service.get(name).is_some_and(|service| {
                config.swarm_of(service) == Some(&entry.swarm) && service.name(name) == entry.service
            }),
        };
        self.services.retain(|name, entry| stays(name, entry));
        for (name, service) in &config.autoscale.service {
            let Some(swarm) = config.swarm_of(service) else { continue };
            self.put(name, swarm, service.name(name), service.clone(), Found::Configuration, now);
        }
        self.config = config;
    }

    /// The swarm with this name, as it is configured now.
    pub(super) fn swarm(&self, name: &str) -> Option<&Swarm> {
        self.config.swarm.get(name)
    }

    /// Takes a service as it is described now.
    fn put(&mut self, name: &str, swarm: &str, service: &str, rules: Service, found: Found, now: Duration) {
        match self.services.get_mut(name) {
            Some(entry) => entry.base = rules,
            None => {
                let entry = Entry::new(swarm, service, rules, found);
                self.services.insert(name.to_owned(), entry);
            }
        }
        // Settings that do not fit a changed configuration any more are left out.
        let _ = self.apply(name, now);
    }

    /// Lays the operator's changes over a service.
    fn apply(&mut self, name: &str, now: Duration) -> Result<(), String> {
        let Some(entry) = self.services.get_mut(name) else { return Ok(()) };
        let Some(settings) = self.settings.get(name) else {
            entry.policy.set_rules(entry.base.clone());
            return Ok(());
        };
        let rules = settings.apply(&entry.base);
        entry.policy.set_rules(rules.as_ref().unwrap_or(&entry.base).clone());
        if entry.policy.pause() == Pause::No {
            entry.policy.set_pause(pause(settings.paused, now));
        }
        rules.map(drop)
    }

    /// What the operator changes of a service.
    ///
    /// # Errors
    /// The changes do not fit it; nothing is changed.
    pub(super) fn change(&mut self, name: &str, newer: Settings, now: Duration) -> Result<(), String> {
        let Some(entry) = self.services.get_mut(name) else {
            return Err(format!("no service {:?} is scaled", shown(name)));
        };
        let mut settings = self.settings.get(name).cloned().unwrap_or_default();
        let paused = newer.paused;
        settings.update(newer);
        settings.apply(&entry.base)?;
        if paused.is_some() {
            entry.policy.set_pause(pause(paused, now));
        }
        self.settings.insert(name.to_owned(), settings);
        self.apply(name, now)
    }

    /// The operator's changes, with the time that is left of each pause.
    pub(super) fn settings(&self, now: Duration) -> BTreeMap<String, Settings> {
        let mut all = self.settings.clone();
        for (name, settings) in &mut all {
            if let (Some(Paused::For(_)), Some(entry)) = (settings.paused, self.services.get(name)) {
                settings.paused = match entry.policy.pause() {
                    Pause::Until(until) if until > now => Some(Paused::For((until - now).as_secs_f64())),
                    _ => None,
                };
            }
        }
        all
    }

    /// Takes the services that labels describe; what is new about labels that are wrong.
    pub(super) fn discover(
        &mut self,
        swarm: &str,
        services: &[docker::Service],
        now: Duration,
    ) -> Vec<(String, News)> {
        let by_labels = self.config.swarm.get(swarm).is_some_and(Swarm::finds_by_labels);
        let mut found: BTreeMap<&str, Service> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for service in services.iter().filter(|_| by_labels) {
            let pairs = service.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let Some(read) = labels::read(pairs) else { continue };
            match read.and_then(|rules| self.may_be_found(swarm, &service.name).map(|is| (rules, is))) {
                Ok((rules, true)) => {
                    found.insert(&service.name, rules);
                }
                Ok((_, false)) => {}
                Err(why) => {
                    refused.insert(shown(&service.name), shown(&why));
                }
            }
        }
        let gone = |name: &str, entry: &Entry| {
            entry.found == Found::Labels && entry.swarm == swarm && !found.contains_key(name)
        };
        self.services.retain(|name, entry| !gone(name, entry));
        for (name, rules) in found {
            if self.services.contains_key(name) || self.services.len() < MOST_SERVICES {
                self.put(name, swarm, name, rules, Found::Labels, now);
            } else {
                refused.insert(name.to_owned(), format!("{MOST_SERVICES} services are scaled at most"));
            }
        }
        let Some(state) = self.swarms.get_mut(swarm) else { return Vec::new() };
        let is_new = |(service, why): &(&String, &String)| state.refused.get(*service) != Some(*why);
        let news = refused.iter().filter(is_new).map(|(service, why)| {
            let text = format!("the labels of {service} are ignored: {why}");
            (service.clone(), News { what: "labels", text, warning: true })
        });
        let news = news.collect();
        state.refused = refused;
        news
    }

    /// Whether labels may describe a service: not when the configuration does.
    fn may_be_found(&self, swarm: &str, name: &str) -> Result<bool, String> {
        if !is_service_name(name) {
            return Err("its name is none that Docker allows".to_owned());
        }
        let configured = self.services.values().any(|entry| {
            entry.found == Found::Configuration && entry.swarm == swarm && entry.service == name
        });
        if configured {
            return Ok(false);
        }
        match self.services.get(name) {
            Some(other) if other.swarm != swarm || other.found == Found::Configuration => {
                Err(format!("another service is scaled under this name, of swarm {}", other.swarm))
            }
            _ => Ok(true),
        }
    }

    /// What is to be looked at in a swarm.
    pub(super) fn wanted(&self, swarm: &str) -> Vec<Wanted> {
        let of = self.services.iter().filter(|(_, entry)| entry.swarm == swarm);
        of.map(|(name, entry)| entry.wanted(name)).collect()
    }

    /// Decides for the services of a swarm, together with all others.
    pub(super) fn decide(&mut self, now: Duration, seen: &[(String, Observation)]) -> Vec<Step> {
        let mut outlooks = Vec::new();
        for (name, observation) in seen {
            let Some(entry) = self.services.get_mut(name) else { continue };
            let outlook = entry.policy.observe(now, observation);
            entry.claim = Some(entry.policy.claim(name, &outlook));
            outlooks.push((name, observation, outlook));
        }
        self.grant();
        let mut steps = Vec::new();
        for (name, observation, outlook) in outlooks {
            let Some(entry) = self.services.get_mut(name) else { continue };
            let decision = entry.policy.decide(now, outlook, entry.grant);
            steps.push(entry.step(name, now, observation, decision));
        }
        steps
    }

    /// Decides again, on what a service is now.
    pub(super) fn decide_again(&mut self, now: Duration, name: &str, seen: &Observation) -> Option<Decision> {
        let entry = self.services.get_mut(name)?;
        let outlook = entry.policy.observe(now, seen);
        entry.claim = Some(entry.policy.claim(name, &outlook));
        self.grant();
        let entry = self.services.get_mut(name)?;
        let decision = entry.policy.decide(now, outlook, entry.grant);
        entry.remember(&decision);
        Some(decision)
    }

    /// Shares out what all services have.
    fn grant(&mut self) {
        let claims: Vec<Claim> = self
            .services
            .iter()
            .map(|(name, entry)| entry.claim.clone().unwrap_or_else(|| entry.unseen(name)))
            .collect();
        let grants = allocate(self.config.autoscale.budget, &claims);
        for (entry, grant) in self.services.values_mut().zip(grants) {
            entry.grant = grant;
        }
    }

    /// Whether a service's own rules allow an action at this moment: the operator may have said otherwise since a decision
    /// was taken by them.
    pub(super) fn acts(&self, name: &str) -> bool {
        let rules = self.services.get(name).map(|entry| entry.policy.rules());
        rules.is_some_and(|rules| rules.enabled && !rules.dry_run)
    }

    /// Whether a service may be changed now; then nobody else is given what it is about to have.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_change(&mut self, now: Duration, name: &str, to: u64) -> Result<(), String> {
        while self.recent.front().is_some_and(|at| now.saturating_sub(*at) >= MINUTE) {
            self.recent.pop_front();
        }
        let most = self.config.autoscale.changes;
        if !self.acts(name) {
            return Err("it was disabled, or told to change nothing, since it was decided".to_owned());
        }
        let entry = self.services.get_mut(name).ok_or("it is not scaled any more")?;
        if now < entry.not_before {
            return Err(format!(
                "the last attempt failed, {} s are waited",
                (entry.not_before - now).as_secs()
            ));
        }
        if self.recent.len() >= most as usize {
            return Err(format!("{most} changes a minute are the most of all services together"));
        }
        self.recent.push_back(now);
        entry.policy.asking(to);
        if let Some(claim) = &mut entry.claim {
            claim.current = claim.current.max(to);
        }
        Ok(())
    }
}

fn pause(paused: Option<Paused>, now: Duration) -> Pause {
    match paused {
        None | Some(Paused::Is(false)) => Pause::No,
        Some(Paused::Is(true)) => Pause::Open,
        Some(Paused::For(time)) => Pause::Until(now + seconds(time)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::decision::Verdict;
    use super::super::observation::{Pool, Replica, Sample, Telemetry};
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn target(swarm: &str, more: Json) -> Json {
        let mut service =
            json!({ "swarm": swarm, "samples": 0, "metric": [{ "metric": "load", "target": 1 }] });
        service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        service
    }

    fn config(autoscale: Json) -> Config {
        let swarm = json!({ "managers": ["unix:///a.sock"] });
        let config = json!({ "swarm": { "s": swarm, "t": swarm }, "autoscale": autoscale });
        let config: Config = serde_json::from_value(config).unwrap();
        assert_eq!(config.validate(), []);
        config
    }

    fn state(autoscale: Json) -> State {
        State::new(config(autoscale), BTreeMap::new(), Duration::ZERO)
    }

    fn labelled(name: &str, labels: &[(&str, &str)]) -> docker::Service {
        let labels =
            labels.iter().map(|(name, value)| (format!("{}{name}", labels::PREFIX), (*value).to_owned()));
        docker::Service {
            id: format!("id-{name}"),
            name: name.to_owned(),
            version_index: 1,
            labels: labels.collect(),
            replicas: Some(1),
            running_tasks: None,
            desired_tasks: None,
            update: None,
        }
    }

    fn seen(name: &str, replicas: u64, load: f64) -> (String, Observation) {
        let replica = |at: u64| Replica {
            task: at.to_string(),
            metrics: vec![Some(Sample { value: load / replicas as f64, age: S })],
            ..Replica::default()
        };
        let pool = Pool {
            replicas: Some(replicas),
            running: (0..replicas).map(|at| at.to_string()).collect(),
            updating: false,
        };
        let telemetry = Telemetry {
            replicas: (0..replicas).map(replica).collect(),
            totals: vec![None],
            ..Telemetry::default()
        };
        (name.to_owned(), Observation { pool: Ok(pool), telemetry: Ok(telemetry) })
    }

    const METRICS: (&str, &str) = ("metrics", "load target=1");

    #[test]
    fn the_configuration_wins_over_labels_and_names_are_taken_once() {
        let mut state =
            state(json!({ "service": { "shop": target("s", json!({ "service": "web", "max": 3 })) } }));
        let services = [
            labelled("web", &[METRICS, ("max", "99")]),
            labelled("api", &[METRICS, ("max", "5")]),
            labelled("shop", &[METRICS]),
            labelled("plain", &[]),
            labelled("we\nb", &[METRICS]),
        ];
        let told = state.discover("s", &services, S);
        let names: Vec<&String> = state.services.keys().collect();
        assert_eq!(names, ["api", "shop"]);
        assert_eq!(state.services["shop"].policy.rules().max, 3);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|(_, news)| !news.text.contains('\n')), "{told:?}");
        assert_eq!(state.discover("s", &services, S), [], "told once");
        // In another swarm the name is taken; where its service is gone it is free.
        assert_eq!(state.discover("t", &[labelled("api", &[METRICS])], S).len(), 1);
        state.discover("s", &[], S);
        assert_eq!(state.services.len(), 1);
        assert_eq!(state.discover("t", &[labelled("api", &[METRICS])], S), []);
        assert_eq!(state.services["api"].swarm, "t");
    }

    #[test]
    fn services_found_by_labels_are_bounded() {
        let mut state = state(json!({}));
        let many: Vec<docker::Service> =
            (0..MOST_SERVICES + 10).map(|at| labelled(&format!("s{at}"), &[METRICS])).collect();
        assert_eq!(state.discover("s", &many, S).len(), 10);
        assert_eq!(state.services.len(), MOST_SERVICES);
    }

    #[test]
    fn another_configuration_keeps_what_is_known_of_services_that_stay() {
        let mut state =
            state(json!({ "service": { "a": target("s", json!({})), "b": target("s", json!({})) } }));
        state.decide(S, &[seen("a", 2, 2.0), seen("b", 2, 2.0)]);
        let settings = Settings::read(&json!({ "max": 20, "paused": 60 })).unwrap();
        state.change("a", settings, S * 10).unwrap();
        let next =
            json!({ "service": { "a": target("s", json!({ "min": 2 })), "b": target("t", json!({})) } });
        state.set_config(config(next), S * 20);
        let a = &state.services["a"];
        assert_eq!((a.policy.rules().min, a.policy.rules().max), (2, 20));
        assert!(a.last.is_some() && state.services["b"].last.is_none(), "b is another one now");
        // What is left of a pause is kept over a restart.
        let kept = serde_json::to_value(state.settings(S * 30)).unwrap();
        assert_eq!(kept, json!({ "a": { "max": 20, "paused": 40.0 } }));
        assert_eq!(serde_json::to_value(state.settings(S * 70)).unwrap(), json!({ "a": { "max": 20 } }));
        // Settings that do not fit any more are left out.
        state.set_config(
            config(json!({ "service": { "a": target("s", json!({ "min": 30, "max": 40 })) } })),
            S * 80,
        );
        assert_eq!(state.services["a"].policy.rules().max, 40);
    }

    #[test]
    fn two_swarms_cannot_take_the_same_replicas() {
        let shop = target("t", json!({ "priority": 1 }));
        let mut state =
            state(json!({ "budget": 6, "service": { "web": target("s", json!({})), "shop": shop } }));
        state.decide(S, &[seen("web", 2, 2.0)]);
        state.decide(S, &[seen("shop", 2, 2.0)]);
        let steps = state.decide(S * 2, &[seen("web", 2, 4.0)]);
        assert_eq!(steps[0].decision.verdict, Verdict::Set { from: 2, to: 4 });
        state.may_change(S * 2, "web", 4).unwrap();
        // Before that was read back the other swarm is looked at.
        let steps = state.decide(S * 2, &[seen("shop", 2, 4.0)]);
        assert_eq!(steps[0].decision.verdict.label(), "budget", "{}", steps[0].decision.reason);
    }

    #[test]
    fn changes_of_all_together_are_limited() {
        let mut state = state(json!({ "changes": 2, "service": { "a": target("s", json!({})) } }));
        assert_eq!(state.may_change(S, "a", 2), Ok(()));
        assert_eq!(state.may_change(S * 2, "a", 3), Ok(()));
        assert!(state.may_change(S * 60, "a", 4).unwrap_err().contains("2 changes a minute"));
        assert_eq!(state.may_change(S * 61, "a", 4), Ok(()));
    }

    #[test]
    fn a_hold_that_lasts_is_told_once_and_so_is_its_end() {
        let mut state = state(json!({ "service": { "a": target("s", json!({ "agreement_s": 10 })) } }));
        let silent = || {
            let (name, mut observation) = seen("a", 2, 2.0);
            observation.telemetry = Ok(Telemetry::default());
            (name, observation)
        };
        let mut told = |now: u32, seen: (String, Observation)| {
            let steps = state.decide(S * now, &[seen]);
            steps[0].news.iter().map(|news| news.what).collect::<Vec<_>>()
        };
        assert_eq!(told(1, silent()), [""; 0]);
        assert_eq!(told(11, silent()), ["held"]);
        assert_eq!(told(30, silent()), [""; 0]);
        assert_eq!(told(31, seen("a", 2, 2.0)), ["resumed"]);
        assert_eq!(told(32, seen("a", 2, 2.0)), [""; 0]);
    }
}
