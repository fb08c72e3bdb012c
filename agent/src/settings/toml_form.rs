//! The form of TOML: the same settings under the names of the manual; a key that is not known is refused.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{Reading, nearest};
use super::keys::{self, Key, SECTIONS, Takes};

/// Reads the text into the settings.
pub(super) fn read(text: &str, reading: &mut Reading) {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reading.problem(error.span().map_or(0, |span| span.start), error.message().replace('\n', ", "));
    }
    if errors.is_empty() {
        file(table.get_ref(), reading);
    }
}

fn file(table: &DeTable<'_>, reading: &mut Reading) {
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let at = value.span().start;
        if name == "sampling_by_speed" {
            match value.get_ref() {
                DeValue::Table(speeds) => by_speed(speeds, reading),
                other => reading.problem(at, format!("{name} is a table, [{name}], not {}", kind_of(other))),
            }
        } else if let Some((section, several)) = SECTIONS.iter().find(|(section, _)| *section == name) {
            match (value.get_ref(), several) {
                (DeValue::Table(keys), false) => self::section(section, at, keys, reading),
                (DeValue::Array(tables), true) => {
                    for element in tables {
                        match element.get_ref() {
                            DeValue::Table(keys) => {
                                self::section(section, element.span().start, keys, reading)
                            }
                            other => reading.problem(
                                element.span().start,
                                format!("{name} are tables, [[{name}]], not {}", kind_of(other)),
                            ),
                        }
                    }
                }
                (_, true) => reading.problem(at, format!("write [[{name}]]: there may be several")),
                (DeValue::Array(_), false) => {
                    reading.problem(at, format!("write [{name}]: there is but one"))
                }
                (other, false) => {
                    reading.problem(at, format!("{name} is a table, [{name}], not {}", kind_of(other)));
                }
            }
        } else if !setting("", name, value, reading) {
            let known = keys::KEYS.iter().filter(|key| key.section.is_empty()).map(|key| key.toml);
            let sections = SECTIONS.iter().map(|(section, _)| *section);
            let near = nearest(name, known.chain(sections).chain(["sampling_by_speed"]));
            reading.problem(key.span().start, format!("{name:?} is no table and no key of this file{near}"));
        }
    }
}

fn by_speed(speeds: &DeTable<'_>, reading: &mut Reading) {
    for (speed, rate) in speeds {
        let set = keys::sampling_by_speed(&mut reading.settings, speed.get_ref(), number(rate.get_ref()));
        let name = speed.get_ref();
        reading.check(rate.span().start, set.map_err(|why| format!("sampling_by_speed.{name}: {why}")));
    }
}

fn section(section: &str, at: usize, keys: &DeTable<'_>, reading: &mut Reading) {
    if let Err(why) = keys::begin(&mut reading.settings, section) {
        reading.problem(at, why);
        return;
    }
    let problems = reading.problems();
    for (key, value) in keys {
        let name = key.get_ref().as_ref();
        if !setting(section, name, value, reading) {
            let known = keys::KEYS.iter().filter(|key| key.section == section).map(|key| key.toml);
            let near = nearest(name, known);
            reading.problem(key.span().start, format!("{name:?} is no key of [{section}]{near}"));
        }
    }
    if reading.problems() == problems {
        let ended = keys::end(&reading.settings, section);
        reading.check(at, ended);
    }
}

/// Whether there is such a setting.
fn setting(section: &str, name: &str, value: &Spanned<DeValue<'_>>, reading: &mut Reading) -> bool {
    let Some(key) = keys::by_toml(section, name) else { return false };
    let set = apply(key, value.get_ref(), reading);
    let dot = if section.is_empty() { "" } else { "." };
    reading.check(value.span().start, set.map_err(|why| format!("{section}{dot}{name}: {why}")));
    true
}

fn apply(key: &Key, value: &DeValue<'_>, reading: &mut Reading) -> Result<(), String> {
    let settings = &mut reading.settings;
    match (&key.takes, value) {
        (Takes::Number { least, most, set }, value) => {
            let number = number(value).filter(|number| (least..=most).contains(&number));
            let number = number.ok_or_else(|| match value {
                DeValue::Integer(_) => format!("a number from {least} to {most} is needed"),
                other => format!("a number from {least} to {most} is needed, not {}", kind_of(other)),
            })?;
            set(settings, number);
        }
        (Takes::Switch(set), DeValue::Boolean(on)) => set(settings, *on),
        (Takes::Switch(_), other) => return Err(format!("true or false is needed, not {}", kind_of(other))),
        (Takes::Text(set), DeValue::String(text)) => set(settings, text)?,
        (Takes::Texts(set), DeValue::Array(list)) => {
            for item in list {
                match item.get_ref() {
                    DeValue::String(text) => set(settings, text)?,
                    other => return Err(format!("a list of texts is needed, not of {}", kind_of(other))),
                }
            }
        }
        (Takes::Text(_), other) => return Err(format!("a text is needed, not {}", kind_of(other))),
        (Takes::Texts(_), other) => return Err(format!("a list of texts is needed, not {}", kind_of(other))),
    }
    Ok(())
}

fn number(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
