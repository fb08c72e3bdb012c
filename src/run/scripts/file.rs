//! What the configuration file says of scripts beside settings: their list, and the properties that they read.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::file::{integer, kind_of, nearest};
use super::{LIST, PROPERTIES, SECTION};

/// Something that is wrong, and where.
type Problem = (Range<usize>, String);

/// The files of `[[script]]`, and what is wrong with it.
pub(in crate::run) fn read(list: &Spanned<DeValue<'_>>, folder: &Path) -> (Vec<PathBuf>, Vec<Problem>) {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for entry in list.get_ref().as_array().into_iter().flat_map(|list| list.iter()) {
        let DeValue::Table(keys) = entry.get_ref() else {
            let found = kind_of(entry.get_ref());
            problems.push((entry.span(), format!("{LIST} are tables, [[{LIST}]], not {found}")));
            continue;
        };
        // A mistyped key is the file's, most likely.
        let before = (files.len(), problems.len());
        for (key, value) in keys {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("file", DeValue::String(file)) if !file.is_empty() => {
                    files.push(folder.join(file.as_ref()));
                }
                ("file", other) => {
                    let found = kind_of(other);
                    problems.push((value.span(), format!("{LIST}.file: a path is needed, not {found}")));
                }
                (other, _) => {
                    let nearest = nearest(other, std::iter::once("file"));
                    let what = format!(
                        "{other:?} is no key of [[{LIST}]]{nearest}; what all scripts share is in [{SECTION}]"
                    );
                    problems.push((key.span(), what));
                }
            }
        }
        if before == (files.len(), problems.len()) {
            problems.push((entry.span(), format!("[[{LIST}]] file is missing")));
        }
    }
    (files, problems)
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
