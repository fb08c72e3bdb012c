//! What numbers and weeks look like in the languages that are known here.

use super::Wrong;

/// The languages, for the message of who asks for another one.
pub(super) const LANGUAGES: &str =
    "bg cs da de el en es et fi fr hr hu it ja ko lt lv nb nl no pl pt ro ru sk sl sv tr uk zh";

/// How the parts of a number are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbols {
    pub(super) decimal: char,
    pub(super) grouping: char,
    pub(super) minus: char,
}

/// The symbols of a language (`de`) in a country (`CH`), either in any case. No language is English.
pub(super) fn symbols(language: Option<&str>, country: Option<&str>) -> Result<Symbols, Wrong> {
    const NO_BREAK: char = '\u{a0}';
    const NARROW: char = '\u{202f}';
    const APOSTROPHE: char = '’';
    const MINUS: char = '−';
    let name = language.unwrap_or("en");
    let country = country.unwrap_or("").to_ascii_uppercase();
    let (decimal, grouping, minus) = match (name.to_ascii_lowercase().as_str(), country.as_str()) {
        ("en" | "ja" | "ko" | "zh" | "", _) => ('.', ',', '-'),
        ("es", "MX" | "US" | "GT" | "HN" | "NI" | "PA" | "PE" | "SV" | "DO" | "PR") => ('.', ',', '-'),
        ("de", "CH" | "LI") | ("it", "CH") => ('.', APOSTROPHE, '-'),
        ("de", "AT") | ("pt", "PT") | ("fr", "CA") => (',', NO_BREAK, '-'),
        ("fr", _) => (',', NARROW, '-'),
        ("da" | "de" | "el" | "es" | "it" | "nl" | "pt" | "ro" | "tr", _) => (',', '.', '-'),
        ("hr" | "sl", _) => (',', '.', MINUS),
        ("bg" | "cs" | "hu" | "lv" | "pl" | "ru" | "sk" | "uk", _) => (',', NO_BREAK, '-'),
        ("et" | "fi" | "lt" | "nb" | "no" | "sv", _) => (',', NO_BREAK, MINUS),
        _ => return Err(Wrong::Language(name.to_owned())),
    };
    Ok(Symbols { decimal, grouping, minus })
}

/// How weeks are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weeks {
    /// The first day of a week: 1 is Monday, 7 is Sunday.
    pub(super) first: i32,
    /// How many days of a year (or month) its first week has at least.
    pub(super) fewest: i32,
}

/// The weeks of a country, or of the one where a language is at home.
pub(super) fn weeks(language: &str, country: Option<&str>) -> Weeks {
    let country = country.unwrap_or("").to_ascii_uppercase();
    match (language, country.as_str()) {
        ("en", "" | "US" | "CA" | "AU")
        | ("fr", "CA")
        | ("es", "US" | "MX")
        | ("ja", _)
        | ("pt", "" | "BR") => Weeks { first: 7, fewest: 1 },
        _ => Weeks { first: 1, fewest: 4 },
    }
}
