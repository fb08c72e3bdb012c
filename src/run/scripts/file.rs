//! What the configuration file says of scripts beside settings: their list, and the properties that they read.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::file::{integer, kind_of, nearest};
use super::{LIST, PROPERTIES, SECTION};

/// Something that is wrong, and where.
type Problem = (Range<usize>, String);

/// What `[[script]]` says.
#[derive(Default)]
pub(in crate::run) struct Listed<'t, 'i> {
    /// Files of scripts.
    pub(in crate::run) files: Vec<PathBuf>,
    /// `[script.actions]`, which TOML takes for the last script's, and which is about all of them.
    pub(in crate::run) actions: Option<&'t DeTable<'i>>,
    /// What is wrong, and where.
    pub(in crate::run) problems: Vec<Problem>,
}

/// Reads `[[script]]`; a relative path is one from `folder`.
pub(in crate::run) fn read<'t, 'i>(list: &'t Spanned<DeValue<'i>>, folder: &Path) -> Listed<'t, 'i> {
    let mut read = Listed::default();
    for entry in list.get_ref().as_array().into_iter().flat_map(|list| list.iter()) {
        let DeValue::Table(keys) = entry.get_ref() else {
            let found = kind_of(entry.get_ref());
            read.problems.push((entry.span(), format!("{LIST} are tables, [[{LIST}]], not {found}")));
            continue;
        };
        // A mistyped key is the file's, most likely.
        let before = (read.files.len(), read.problems.len());
        for (key, value) in keys {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("file", DeValue::String(file)) if !file.is_empty() => {
                    read.files.push(folder.join(file.as_ref()))
                }
                ("file", other) => {
                    let found = kind_of(other);
                    read.problems.push((value.span(), format!("{LIST}.file: a path is needed, not {found}")));
                }
                ("actions", DeValue::Table(_)) if read.actions.is_some() => {
                    let what = format!("[{LIST}.actions] is about all scripts: one is enough");
                    read.problems.push((key.span(), what));
                }
                ("actions", DeValue::Table(actions)) => read.actions = Some(actions),
                (other, _) => {
                    let nearest = nearest(other, ["actions", "file"].into_iter());
                    let what = format!(
                        "{other:?} is no key of [[{LIST}]]{nearest}; what all scripts share is in [{SECTION}]"
                    );
                    read.problems.push((key.span(), what));
                }
            }
        }
        if before == (read.files.len(), read.problems.len()) {
            read.problems.push((entry.span(), format!("[[{LIST}]] file is missing")));
        }
    }
    read
}

/// The table `[scripts.properties]`: `a.b = 1` and `"a.b" = 1` are the same, as they are for those who write `-Da.b=1`.
pub(in crate::run) fn properties(
    table: &DeTable<'_>,
    within: &str,
) -> Result<Vec<(String, String)>, Problem> {
    let mut all = Vec::new();
    for (key, value) in table {
        let name = format!("{within}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => all.extend(properties(inner, &format!("{name}."))?),
            DeValue::String(text) => all.push((name, text.to_string())),
            number @ DeValue::Integer(_) if integer(number).is_some() => {
                all.push((name, integer(number).unwrap_or_default().to_string()));
            }
            DeValue::Float(number) => all.push((name, number.as_str().to_owned())),
            DeValue::Boolean(on) => all.push((name, on.to_string())),
            other => {
                let what = format!(
                    "{PROPERTIES}.{name}: a text, a number, or true or false is needed, not {}",
                    kind_of(other)
                );
                return Err((value.span(), what));
            }
        }
    }
    Ok(all)
}
