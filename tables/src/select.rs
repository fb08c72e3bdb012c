//! Which agents, metrics and data sources a question means.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use decode::{Address, DataSource};
use regex::{Regex, RegexBuilder};

use crate::metric::MetricValue;
use crate::metric::store::{LOGICAL, Wanted, is_shared_at, is_virtual};
use crate::owner::Source;
use crate::spec_error::{SpecError, wrong};
use crate::topology::{Role, Topology, Which};

/// A question cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// No metric is named.
    #[error("no metric is named")]
    NoMetric,
    /// A prefix is no aggregation.
    #[error("{0:?} is no aggregation: max, min, sum, avg, var, sdev, med, q1, q2, q3, iqr or any")]
    Aggregation(String),
    /// A column says wrongly how to sort, or is the second one that does.
    #[error(
        "{0:?} does not sort: a table is sorted by one metric, sort:METRIC:-10 (the ten largest) or sort:METRIC:10"
    )]
    Sort(String),
    /// A column aggregates.
    #[error("{0:?}: a cell of a table is of one data source, without an aggregation")]
    NoStatistic(String),
    /// A pattern cannot be compiled.
    #[error("{pattern:?} is no pattern: {reason}")]
    Pattern {
        /// As it was given.
        pattern: String,
        /// What is wrong.
        reason: String,
    },
    /// A filter has too many patterns that are expressions.
    #[error(
        "a filter has {MOST_EXPRESSIONS} patterns with special characters at most; one may list others: (a|b).*"
    )]
    Expressions,
    /// What is asked for needs a topology.
    #[error("{0} needs topology: none is defined, PUT /topology/json defines one")]
    NeedsTopology(String),
    /// No flow has this name.
    #[error("no such flow; /flow/json lists them")]
    NoFlow,
    /// A way of putting the values of data sources together is none.
    #[error("aggMode {0:?} is not max, sum, edge or core")]
    Mode(String),
    /// Ports of a role are asked for, and the flow has no table of a port.
    #[error("aggMode {mode} needs tables of data sources: {flow:?} has aggMode AGENT")]
    NoPorts {
        /// The flow.
        flow: String,
        /// What was asked for.
        mode: &'static str,
    },
}

/// Agents that a question means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agents {
    /// All of them.
    All,
    /// Those that the operator has listed and that are trusted: what actions may use.
    Listed,
    /// Those with these addresses or host names.
    Named(Vec<String>),
    /// Of some agents those of a topology, or their ports of a role.
    Of(Box<Agents>, Arc<Topology>, Which),
}

impl Agents {
    /// `ALL`, `LISTED`, `TOPOLOGY`, `EDGE`, `CORE`, or addresses and host names separated by `;` or `,`.
    ///
    /// # Errors
    /// It needs a topology, and none is defined.
    pub fn of(text: &str, topology: &Arc<Topology>) -> Result<Self, SelectError> {
        let which = match text {
            "ALL" => return Ok(Self::All),
            "LISTED" => return Ok(Self::Listed),
            "TOPOLOGY" => Which::All,
            "EDGE" => Which::Ports(Role::Edge),
            "CORE" => Which::Ports(Role::Core),
            _ => {
                let names = text.split([';', ',']).map(str::trim).filter(|name| !name.is_empty());
                return Ok(Self::Named(names.map(str::to_owned).collect()));
            }
        };
        Self::All.at(text, topology, which)
    }

    /// Of these agents those of a topology, or their ports of a role, which `called` asks for.
    ///
    /// # Errors
    /// No topology is defined.
    pub fn at(self, called: &str, topology: &Arc<Topology>, which: Which) -> Result<Self, SelectError> {
        if topology.is_defined() {
            Ok(Self::Of(Box::new(self), Arc::clone(topology), which))
        } else {
            Err(SelectError::NeedsTopology(called.to_owned()))
        }
    }

    /// The same agents with all of their data sources.
    #[must_use]
    pub fn whole(&self) -> Self {
        match self {
            Self::Of(inner, topology, _) => {
                Self::Of(Box::new(inner.whole()), Arc::clone(topology), Which::All)
            }
            other => other.clone(),
        }
    }

    /// Whether a data source of an agent that is meant is meant too.
    pub(crate) fn mean_source(&self, agent: Address, source: &Source) -> bool {
        match self {
            Self::All | Self::Listed | Self::Named(_) => true,
            Self::Of(inner, topology, which) => {
                let is_meant = match (which, source) {
                    (Which::All, _) => true,
                    (Which::Ports(role), Source::Of(source)) => topology.role(agent, *source) == *role,
                    (Which::Ports(_), Source::Named(_) | Source::Agent) => false,
                };
                is_meant && inner.mean_source(agent, source)
            }
        }
    }

    /// Whether the agent is meant.
    pub(crate) fn mean(
        &self,
        agent: Address,
        is_trusted: bool,
        host_name: impl Fn() -> Option<MetricValue>,
    ) -> bool {
        match self {
            Self::All => true,
            Self::Of(inner, topology, _) => {
                topology.has(agent) && inner.mean_dyn(agent, is_trusted, &host_name)
            }
            Self::Listed => is_trusted,
            Self::Named(names) => names.iter().any(|name| {
                name.parse::<IpAddr>().is_ok_and(|ip| Some(ip) == agent.ip())
                    || matches!(host_name(), Some(MetricValue::Text(host)) if *host == **name)
            }),
        }
    }

    /// [`Agents::mean`] without a type for every depth.
    fn mean_dyn(
        &self,
        agent: Address,
        is_trusted: bool,
        host_name: &dyn Fn() -> Option<MetricValue>,
    ) -> bool {
        self.mean(agent, is_trusted, host_name)
    }
}

/// How the values of many data sources become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The largest.
    #[default]
    Max,
    /// The smallest.
    Min,
    /// All together.
    Sum,
    /// The mean.
    Avg,
    /// The variance.
    Var,
    /// The standard deviation.
    Sdev,
    /// The median.
    Med,
    /// The first quartile.
    Q1,
    /// The third quartile.
    Q3,
    /// The distance of the quartiles.
    Iqr,
    /// One of them: that of the lowest agent and data source.
    Any,
}

impl Aggregation {
    /// All names, as they stand before a metric's.
    pub const NAMES: [(&'static str, Self); 12] = [
        ("max", Self::Max),
        ("min", Self::Min),
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("var", Self::Var),
        ("sdev", Self::Sdev),
        ("med", Self::Med),
        ("q1", Self::Q1),
        ("q2", Self::Med),
        ("q3", Self::Q3),
        ("iqr", Self::Iqr),
        ("any", Self::Any),
    ];
}

/// A metric of a question: `load_one`, `avg:load_one`, `2.1.load_one`.
#[derive(Clone, Debug)]
pub struct MetricRef {
    /// As it was given.
    pub text: String,
    /// What stands before the colon.
    pub aggregation: Aggregation,
    /// The data source that stands before the name.
    pub source: Option<DataSource>,
    /// The class of data source that the name is for.
    logical: bool,
    pub(crate) wanted: Wanted,
}

impl FromStr for MetricRef {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Self, SelectError> {
        let (aggregation, rest) = match text.split_once(':') {
            None => (Aggregation::default(), text),
            Some((prefix, rest)) => {
                let found = Aggregation::NAMES.iter().find(|(name, _)| *name == prefix);
                let found = found.ok_or_else(|| SelectError::Aggregation(prefix.to_owned()))?;
                (found.1, rest)
            }
        };
        let (source, name) = located(rest);
        if !name.contains(|c: char| c.is_ascii_alphabetic()) {
            return Err(SelectError::NoMetric);
        }
        Ok(Self {
            text: text.to_owned(),
            aggregation,
            source,
            logical: is_virtual(name),
            wanted: Wanted::find(name),
        })
    }
}

/// The data source that stands before a name, and the name: what precedes the last dot of the digits and dots that a
/// text begins with, where that is a data source. The names of flows may begin with a digit.
fn located(text: &str) -> (Option<DataSource>, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let split = text.get(..digits).and_then(|digits| digits.rfind('.'));
    let source = split.and_then(|dot| text.get(..dot)?.parse().ok());
    match (source, split) {
        (Some(source), Some(dot)) => (Some(source), text.get(dot + 1..).unwrap_or_default()),
        _ => (None, text),
    }
}

impl MetricRef {
    /// Metrics separated by commas.
    ///
    /// # Errors
    /// There is none, or one cannot be understood.
    pub fn list(text: &str) -> Result<Vec<Self>, SelectError> {
        let list: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(Self::from_str)
            .collect::<Result<_, _>>()?;
        if list.is_empty() { Err(SelectError::NoMetric) } else { Ok(list) }
    }

    /// Metrics separated by commas or semicolons; none, which means all, for `ALL`.
    ///
    /// # Errors
    /// Those of [`MetricRef::list`].
    pub fn list_or_all(text: &str) -> Result<Vec<Self>, SelectError> {
        if text == "ALL" { Ok(Vec::new()) } else { Self::list(&text.replace(';', ",")) }
    }

    /// The metric's name, without aggregation and data source.
    pub fn name(&self) -> &str {
        located(self.text.split_once(':').map_or(self.text.as_str(), |(_, rest)| rest)).1
    }

    /// Whether the metric may be that of this data source. A host's identity is no container's.
    pub(crate) fn may_be_of(&self, source: DataSource) -> bool {
        let logical = source.class == LOGICAL;
        let class_has_it = match &self.wanted {
            Wanted::Counted(places) => {
                self.logical == logical || !places.iter().any(|(structure, _)| is_shared_at(*structure))
            }
            Wanted::Label(_) => logical,
            Wanted::Derived(..) | Wanted::Named(_) => true,
        };
        class_has_it && self.source.is_none_or(|wanted| wanted == source)
    }
}

/// Conditions on the metrics of a data source or its host; all must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    conditions: Vec<(MetricRef, Vec<Pattern>)>,
}

/// A pattern: `*` stands for anything, the rest is a regular expression, the whole text must match. A number
/// also matches the same number written otherwise.
#[derive(Clone, Debug)]
struct Pattern {
    kind: PatternKind,
    number: Option<f64>,
}

#[derive(Clone, Debug)]
enum PatternKind {
    /// A text without special characters: names are listed by the hundred.
    Plain(String),
    Expression(Regex),
}

/// Patterns with special characters that a filter has at most: whoever may ask decides how many are compiled.
const MOST_EXPRESSIONS: usize = 256;

/// What the expressions of a filter may take together, bytes; and what each may take in any case.
const EXPRESSIONS_BYTES: usize = 1 << 20;
const EXPRESSION_BYTES: usize = 16 << 10;

impl Pattern {
    /// A pattern; `room` is what its expression may take, bytes.
    fn new(pattern: &str, room: usize) -> Result<Self, SelectError> {
        let kind = if is_plain(pattern) {
            PatternKind::Plain(pattern.to_owned())
        } else {
            let expression = format!("^(?:{})$", pattern.replace('*', ".*"));
            let built = RegexBuilder::new(&expression).size_limit(room).dfa_size_limit(room).build();
            PatternKind::Expression(built.map_err(|error| SelectError::Pattern {
                pattern: pattern.to_owned(),
                reason: error.to_string(),
            })?)
        };
        Ok(Self { kind, number: pattern.parse().ok() })
    }

    fn matches_text(&self, text: &str) -> bool {
        match &self.kind {
            PatternKind::Plain(plain) => plain == text,
            PatternKind::Expression(regex) => regex.is_match(text),
        }
    }

    fn matches(&self, value: &MetricValue) -> bool {
        match value {
            MetricValue::Text(text) => self.matches_text(text),
            MetricValue::Number(number) => {
                self.number == Some(*number) || self.matches_text(&number.to_string())
            }
        }
    }
}

/// Whether a pattern is a text that matches itself alone.
fn is_plain(pattern: &str) -> bool {
    !pattern.contains(|c: char| c.is_ascii_punctuation() && !matches!(c, '-' | '_' | '/' | ':' | '@' | ','))
}

impl Filter {
    /// A filter from names and the patterns of which one must match.
    ///
    /// # Errors
    /// A name or a pattern cannot be understood.
    pub fn new<'a>(
        conditions: impl IntoIterator<Item = (&'a str, Vec<String>)>,
    ) -> Result<Self, SelectError> {
        let conditions: Vec<_> = conditions.into_iter().collect();
        let expressions =
            conditions.iter().flat_map(|(_, patterns)| patterns).filter(|pattern| !is_plain(pattern)).count();
        if expressions > MOST_EXPRESSIONS {
            return Err(SelectError::Expressions);
        }
        let room = (EXPRESSIONS_BYTES / expressions.max(1)).max(EXPRESSION_BYTES);
        let conditions = conditions
            .into_iter()
            .map(|(name, patterns)| {
                let patterns =
                    patterns.iter().map(|pattern| Pattern::new(pattern, room)).collect::<Result<_, _>>()?;
                Ok((name.parse()?, patterns))
            })
            .collect::<Result<_, SelectError>>()?;
        Ok(Self { conditions })
    }

    /// A filter from the parameters of a query: repeated ones and commas both separate patterns.
    ///
    /// # Errors
    /// A name or a pattern cannot be understood.
    pub fn from_query(conditions: &[(String, String)]) -> Result<Self, SelectError> {
        let mut names: Vec<(&str, Vec<String>)> = Vec::new();
        for (name, patterns) in conditions {
            let patterns = patterns.split(',').map(str::to_owned);
            match names.iter_mut().find(|(known, _)| known == name) {
                Some((_, all)) => all.extend(patterns),
                None => names.push((name, patterns.collect())),
            }
        }
        Self::new(names)
    }

    /// A filter from `{name: [patterns]}`; numbers are patterns too.
    ///
    /// # Errors
    /// A name or a pattern cannot be understood; the message names it.
    pub fn from_json(conditions: &serde_json::Map<String, serde_json::Value>) -> Result<Self, SpecError> {
        use serde_json::Value as Json;
        let pattern = |json: &Json| match json {
            Json::String(text) => Some(text.clone()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let mut list = Vec::new();
        for (name, patterns) in conditions {
            let patterns: Option<Vec<String>> = match patterns {
                Json::Array(patterns) => patterns.iter().map(pattern).collect(),
                one => pattern(one).map(|one| vec![one]),
            };
            let patterns = patterns.ok_or_else(|| wrong(name, "must be a list of patterns"))?;
            list.push((name.as_str(), patterns));
        }
        Self::new(list).map_err(|error| wrong("filter", error.to_string()))
    }

    /// Whether every condition holds; `value` finds a metric on the data source or its host.
    pub(crate) fn holds(&self, mut value: impl FnMut(&MetricRef) -> Option<MetricValue>) -> bool {
        self.conditions.iter().all(|(metric, patterns)| {
            value(metric).is_some_and(|value| patterns.iter().any(|pattern| pattern.matches(&value)))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_their_authors_mean_them() {
        for (pattern, yes, no) in [
            ("mem*", "mem1", "amem"),
            ("*web.*", "my.web.site", "my.site"),
            ("xenserver*", "xenserver12", "server"),
            ("*", "anything", "\n"),
            ("apache\\.*", "apache.1.abc", "apache2.1.abc"),
        ] {
            let pattern = Pattern::new(pattern, EXPRESSIONS_BYTES).unwrap();
            assert!(pattern.matches(&MetricValue::Text(yes.into())), "{yes}");
            assert!(!pattern.matches(&MetricValue::Text(no.into())), "{no}");
        }
        assert!(
            !Pattern::new("apache\\.*", EXPRESSION_BYTES)
                .unwrap()
                .matches(&MetricValue::Text("apache".into()))
        );
        assert!(Pattern::new("1e9", 0).unwrap().matches(&MetricValue::Number(1_000_000_000.0)));
        assert!(matches!(Pattern::new("(", EXPRESSION_BYTES), Err(SelectError::Pattern { .. })));
    }

    #[test]
    fn what_a_filter_compiles_is_bounded() {
        let filter = |pattern: &str, count| Filter::new([("host_name", vec![pattern.to_owned(); count])]);
        assert!(filter("\\w{20}", 1).is_ok());
        // 256 of them would take 100 MiB.
        assert!(matches!(filter("\\w{20}", 256), Err(SelectError::Pattern { .. })));
        assert!(filter("xenserver[0-9]+.*", 256).is_ok());
        assert_eq!(filter("web.*", 257).unwrap_err(), SelectError::Expressions);
        assert!(filter("swp-1/2:0", 10_000).is_ok());
        for text in ["swp-1/2:0", "host 1", "été"] {
            assert!(Pattern::new(text, 0).unwrap().matches(&MetricValue::Text(text.into())), "{text}");
        }
    }

    #[test]
    fn metrics_with_prefixes() {
        let metric: MetricRef = "avg:2.1.load_one".parse().unwrap();
        assert_eq!(metric.aggregation, Aggregation::Avg);
        assert_eq!(metric.source, Some(DataSource { class: 2, index: 1 }));
        assert!(matches!("load_one".parse::<MetricRef>().unwrap().wanted, Wanted::Counted(_)));
        assert!(matches!("nosuch".parse::<MetricRef>().unwrap().wanted, Wanted::Named(_)));
        assert_eq!("top:load_one".parse::<MetricRef>().unwrap_err(), SelectError::Aggregation("top".into()));
        assert_eq!(MetricRef::list(" , ").unwrap_err(), SelectError::NoMetric);
    }

    #[test]
    fn a_name_is_a_whole_one_whatever_it_begins_with() {
        for (text, source, name) in [
            ("22.tcp", Some((0, 22)), "tcp"),
            ("2.1.5tuple", Some((2, 1)), "5tuple"),
            ("max:3.100000.a.b", Some((3, 100_000)), "a.b"),
            ("5tuple", None, "5tuple"),
            ("_top", None, "_top"),
            ("9load_one", None, "9load_one"),
            ("1.2.3.load_one", None, "1.2.3.load_one"),
        ] {
            let metric: MetricRef = text.parse().unwrap();
            let source = source.map(|(class, index)| DataSource { class, index });
            assert_eq!((metric.source, metric.name()), (source, name), "{text}");
        }
        assert!(matches!("9load_one".parse::<MetricRef>().unwrap().wanted, Wanted::Named(_)));
        for text in ["", "0", "2.1", "2.1."] {
            assert_eq!(text.parse::<MetricRef>().unwrap_err(), SelectError::NoMetric, "{text}");
        }
    }

    #[test]
    fn agents_by_address_and_name() {
        let none = Arc::default();
        let agents = Agents::of("10.0.0.1;switch1", &none).unwrap();
        let address = Address::V4([10, 0, 0, 1].into());
        assert!(agents.mean(address, false, || None));
        assert!(agents.mean(Address::Unknown, false, || Some(MetricValue::Text("switch1".into()))));
        assert!(!agents.mean(Address::Unknown, false, || Some(MetricValue::Text("switch2".into()))));
        let error = Agents::of("EDGE", &none).unwrap_err().to_string();
        assert!(error.starts_with("EDGE needs topology: none is defined"), "{error}");
    }
}
