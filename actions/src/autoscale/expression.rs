//! What is measured: a metric, or the sum of several, with how the values of many containers become one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tables::select::MetricRef;

/// Metrics that are summed, at most.
pub const MOST_TERMS: usize = 8;

/// How the values of a service's containers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fold {
    /// Their mean.
    #[default]
    Avg,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// All together.
    Sum,
    /// The one in the middle.
    Med,
}

impl Fold {
    /// All names, as they stand before a metric's.
    const NAMES: [(&'static str, Self); 5] =
        [("avg", Self::Avg), ("max", Self::Max), ("min", Self::Min), ("sum", Self::Sum), ("med", Self::Med)];

    /// Its name as it stands before a metric's.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, fold)| *fold == self).map_or("avg", |(name, _)| name)
    }

    /// One value of many; `None` of none.
    pub fn of(self, values: &[f64]) -> Option<f64> {
        let first = *values.first()?;
        let sum = || values.iter().sum::<f64>();
        Some(match self {
            Self::Avg => sum() / values.len() as f64,
            Self::Sum => sum(),
            Self::Max => values.iter().fold(first, |a, b| a.max(*b)),
            Self::Min => values.iter().fold(first, |a, b| a.min(*b)),
            Self::Med => median(values)?,
        })
    }
}

/// The value in the middle, or the mean of the two there; `None` of none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (half, odd) = (sorted.len() / 2, sorted.len() % 2 == 1);
    let upper = *sorted.get(half)?;
    let lower = if odd { upper } else { *sorted.get(half.checked_sub(1)?)? };
    Some(lower + (upper - lower) / 2.0)
}

/// A metric or a sum of metrics: `vir_cpu_utilization`, `avg:vir_bytes_in + avg:vir_bytes_out`, `max:load_one`.
///
/// For each container the terms are added; what stands before the colon says how the containers' sums become one.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    fold: Option<Fold>,
    /// The names of the metrics.
    pub terms: Vec<String>,
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut fold: Option<Option<Fold>> = None;
        let mut terms = Vec::new();
        for term in text.split('+').map(str::trim) {
            let (given, name) = match term.split_once(':') {
                None => (None, term),
                Some((prefix, name)) => {
                    let found = Fold::NAMES.iter().find(|(name, _)| *name == prefix);
                    let found = found.ok_or_else(|| {
                        format!("{prefix:?} does not make one value of many: avg, max, min, sum or med")
                    })?;
                    (Some(found.1), name)
                }
            };
            let metric: MetricRef = name.parse().map_err(|why| format!("{term:?}: {why}"))?;
            if metric.source.is_some() || metric.text.contains(|c: char| c.is_whitespace() || c.is_control())
            {
                return Err(format!("{term:?} is no name of a metric"));
            }
            if *fold.get_or_insert(given) != given {
                return Err(format!("{text:?}: all terms of a sum are made one value in the same way"));
            }
            terms.push(name.to_owned());
        }
        if terms.len() > MOST_TERMS {
            return Err(format!("{text:?} has {} terms, {MOST_TERMS} at most can be added", terms.len()));
        }
        Ok(Self { text: text.trim().to_owned(), fold: fold.flatten(), terms })
    }
}

impl Expression {
    /// How the containers' sums become one: their mean where nothing is given.
    pub fn fold(&self) -> Fold {
        self.fold.unwrap_or_default()
    }

    /// How a service's total is made of all data sources: their sum where nothing is given.
    pub fn fold_of_total(&self) -> Fold {
        self.fold.unwrap_or(Fold::Sum)
    }

    /// The terms as one name, however the expression is written.
    pub fn key(&self) -> String {
        self.terms.join("+")
    }
}

/// Expressions are equal when they mean the same.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        (self.fold, &self.terms) == (other.fold, &other.terms)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_articles_expressions_are_read() {
        let bytes: Expression = "avg:vir_bytes_in+avg:vir_bytes_out".parse().unwrap();
        assert_eq!(bytes.terms, ["vir_bytes_in", "vir_bytes_out"]);
        assert_eq!((bytes.fold(), bytes.fold().name()), (Fold::Avg, "avg"));
        let plain: Expression = " vir_cpu_utilization ".parse().unwrap();
        assert_eq!((plain.fold(), plain.to_string().as_str()), (Fold::Avg, "vir_cpu_utilization"));
        assert_eq!("max:load_one".parse::<Expression>().unwrap().fold(), Fold::Max);
        assert_eq!(plain.fold_of_total(), Fold::Sum);
        assert_eq!(bytes.key(), "vir_bytes_in+vir_bytes_out");
    }

    #[test]
    fn what_is_no_sum_of_metrics_is_refused() {
        for (text, says) in [
            ("", "no metric"),
            ("a +", "no metric"),
            ("top:a", "\"top\""),
            ("avg:a + max:b", "the same way"),
            ("3.1.a", "no name"),
            ("a b", "no name"),
            ("a+a+a+a+a+a+a+a+a", "8 at most"),
        ] {
            let why = text.parse::<Expression>().unwrap_err();
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn many_values_become_one() {
        let values = [4.0, 1.0, 2.0, 9.0];
        for (fold, one) in
            [(Fold::Avg, 4.0), (Fold::Max, 9.0), (Fold::Min, 1.0), (Fold::Sum, 16.0), (Fold::Med, 3.0)]
        {
            assert_eq!(fold.of(&values), Some(one), "{fold:?}");
            assert_eq!(fold.of(&[]), None);
        }
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    }
}
