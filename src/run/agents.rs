//! The agents that the configuration lists: `[[agents.listed]]`, with what is wrong with an entry and where that stands.

use std::ops::Range;

use tables::trust::Listed;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::file::{kind_of, nearest};

/// Entries at most.
const MOST: usize = 100_000;

/// What an entry may say.
const KEYS: [&str; 2] = ["address", "sources"];

/// Where something stands, and what is wrong with it.
pub(super) type Problem = (Range<usize>, String);

/// The entries that are right, and what is wrong with the others.
pub(super) fn read(value: &Spanned<DeValue<'_>>) -> (Vec<Listed>, Vec<Problem>) {
    let (mut listed, mut problems) = (Vec::new(), Vec::new());
    let entries = match value.get_ref() {
        DeValue::Array(entries) if entries.len() <= MOST => entries,
        DeValue::Array(entries) => {
            problems.push((
                value.span(),
                format!("agents.listed: {} entries; {MOST} are allowed", entries.len()),
            ));
            return (listed, problems);
        }
        other => {
            let found = kind_of(other);
            problems
                .push((value.span(), format!("agents.listed are tables, [[agents.listed]], not {found}")));
            return (listed, problems);
        }
    };
    let mut known = std::collections::HashSet::new();
    for entry in entries {
        let read = match entry.get_ref() {
            DeValue::Table(keys) => one(&entry.span(), keys),
            other => Err((entry.span(), format!("is a table, [[agents.listed]], not {}", kind_of(other)))),
        };
        match read {
            Ok(read) if known.insert(read.agents()) => listed.push(read),
            Ok(_) => problems.push((entry.span(), "agents.listed: these agents are listed twice".to_owned())),
            Err((at, why)) => problems.push((at, format!("agents.listed: {why}"))),
        }
    }
    (listed, problems)
}

fn one(entry: &Range<usize>, keys: &DeTable<'_>) -> Result<Listed, Problem> {
    if let Some((key, _)) = keys.iter().find(|(key, _)| !KEYS.contains(&key.get_ref().as_ref())) {
        let name = key.get_ref();
        let nearest = nearest(name, KEYS.into_iter());
        return Err((key.span(), format!("{name:?} is no key of an agent{nearest}")));
    }
    let address = keys.get("address").ok_or_else(|| (entry.clone(), "address is missing".to_owned()))?;
    let sources = match keys.get("sources") {
        None => Vec::new(),
        Some(one) => match one.get_ref() {
            DeValue::Array(list) => texts(one, list)?,
            _ => vec![one],
        },
    };
    let texts: Vec<&str> = sources.iter().map(|source| text("sources", source)).collect::<Result<_, _>>()?;
    Listed::new(text("address", address)?, &texts).map_err(|error| {
        let at = error.source_at.map_or(Some(&address), |at| sources.get(at));
        (at.map_or_else(|| entry.clone(), |at| at.span()), error.why)
    })
}

fn texts<'v, 'i>(
    value: &Spanned<DeValue<'i>>,
    list: &'v DeArray<'i>,
) -> Result<Vec<&'v Spanned<DeValue<'i>>>, Problem> {
    // An empty list would mean the agent's own address, as no list does, to one reader, and nothing to another.
    if list.is_empty() {
        return Err((
            value.span(),
            "sources are empty: leave them out for the agent's own address".to_owned(),
        ));
    }
    Ok(list.iter().collect())
}

fn text<'v>(key: &str, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, Problem> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text),
        other => {
            let found = kind_of(other);
            Err((value.span(), format!("{key}: an address or a prefix as a text is needed, not {found}")))
        }
    }
}
