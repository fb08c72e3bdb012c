//! The names of months, days and halves of a day, as the Unicode locale data have them, for the languages that dates can be written in.

use super::Wrong;

/// The languages, for the message of who asks for another one.
pub(super) const LANGUAGES: &str = "da de en es fr it ja nl pt sv";

/// The names of one language. Lists are divided by spaces; an underscore in them is a space, `~` one that does not break.
pub(super) struct Names {
    pub(super) language: &'static str,
    /// January first, as in a date with a day.
    pub(super) months: &'static str,
    pub(super) short_months: &'static str,
    /// Monday first.
    pub(super) days: &'static str,
    pub(super) short_days: &'static str,
    /// Before noon, after noon.
    pub(super) halves: &'static str,
    /// Before Christ, after.
    pub(super) eras: &'static str,
}

/// The names of a language; no language is English.
pub(super) fn names(language: Option<&str>) -> Result<&'static Names, Wrong> {
    let asked = language.filter(|language| !language.is_empty()).unwrap_or("en");
    NAMES
        .iter()
        .find(|names| names.language.eq_ignore_ascii_case(asked))
        .ok_or_else(|| Wrong::DateLanguage(asked.to_owned()))
}

/// The name at a place of a list, from 0.
pub(super) fn name(list: &str, at: usize) -> String {
    list.split(' ').nth(at).unwrap_or_default().replace('_', " ").replace('~', "\u{a0}")
}

const NAMES: &[Names] = &[
    Names {
        language: "en",
        months: "January February March April May June July August September October November December",
        short_months: "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        days: "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        short_days: "Mon Tue Wed Thu Fri Sat Sun",
        halves: "AM PM",
        eras: "BC AD",
    },
    Names {
        language: "da",
        months: "januar februar marts april maj juni juli august september oktober november december",
        short_months: "jan. feb. mar. apr. maj jun. jul. aug. sep. okt. nov. dec.",
        days: "mandag tirsdag onsdag torsdag fredag lørdag søndag",
        short_days: "man. tirs. ons. tors. fre. lør. søn.",
        halves: "AM PM",
        eras: "f.Kr. e.Kr.",
    },
    Names {
        language: "de",
        months: "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        short_months: "Jan. Feb. März Apr. Mai Juni Juli Aug. Sept. Okt. Nov. Dez.",
        days: "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
        short_days: "Mo. Di. Mi. Do. Fr. Sa. So.",
        halves: "AM PM",
        eras: "v._Chr. n._Chr.",
    },
    Names {
        language: "es",
        months: "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        short_months: "ene feb mar abr may jun jul ago sept oct nov dic",
        days: "lunes martes miércoles jueves viernes sábado domingo",
        short_days: "lun mar mié jue vie sáb dom",
        halves: "a.~m. p.~m.",
        eras: "a._C. d._C.",
    },
    Names {
        language: "fr",
        months: "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        short_months: "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        days: "lundi mardi mercredi jeudi vendredi samedi dimanche",
        short_days: "lun. mar. mer. jeu. ven. sam. dim.",
        halves: "AM PM",
        eras: "av._J.-C. ap._J.-C.",
    },
    Names {
        language: "it",
        months: "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        short_months: "gen feb mar apr mag giu lug ago set ott nov dic",
        days: "lunedì martedì mercoledì giovedì venerdì sabato domenica",
        short_days: "lun mar mer gio ven sab dom",
        halves: "AM PM",
        eras: "a.C. d.C.",
    },
    Names {
        language: "ja",
        months: "1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",
        short_months: "1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",
        days: "月曜日 火曜日 水曜日 木曜日 金曜日 土曜日 日曜日",
        short_days: "月 火 水 木 金 土 日",
        halves: "午前 午後",
        eras: "紀元前 西暦",
    },
    Names {
        language: "nl",
        months: "januari februari maart april mei juni juli augustus september oktober november december",
        short_months: "jan. feb. mrt. apr. mei jun. jul. aug. sep. okt. nov. dec.",
        days: "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
        short_days: "ma di wo do vr za zo",
        halves: "a.m. p.m.",
        eras: "v.Chr. n.Chr.",
    },
    Names {
        language: "pt",
        months: "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        short_months: "jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez.",
        days: "segunda-feira terça-feira quarta-feira quinta-feira sexta-feira sábado domingo",
        short_days: "seg. ter. qua. qui. sex. sáb. dom.",
        halves: "AM PM",
        eras: "a.C. d.C.",
    },
    Names {
        language: "sv",
        months: "januari februari mars april maj juni juli augusti september oktober november december",
        short_months: "jan. feb. mars apr. maj juni juli aug. sep. okt. nov. dec.",
        days: "måndag tisdag onsdag torsdag fredag lördag söndag",
        short_days: "mån tis ons tors fre lör sön",
        halves: "fm em",
        eras: "f.Kr. e.Kr.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_all_names() {
        let mut languages: Vec<&str> = NAMES.iter().map(|names| names.language).collect();
        languages.sort_unstable();
        assert_eq!(languages.join(" "), LANGUAGES);
        for names in NAMES {
            for (list, count) in [
                (names.months, 12),
                (names.short_months, 12),
                (names.days, 7),
                (names.short_days, 7),
                (names.halves, 2),
                (names.eras, 2),
            ] {
                assert_eq!(list.split(' ').count(), count, "{}: {list}", names.language);
                assert!(!name(list, count - 1).is_empty());
            }
        }
    }
}
