//! Dates as texts by the patterns of Java's `SimpleDateFormat`.
//!
//! The calendar is the Gregorian one at all times, where Java's is the Julian one before 1582. Time zones have the abbreviations of the
//! zone database (`z`); their long names (`zzzz`) are not known here and are abbreviated too.

use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use super::locale::{Weeks, weeks};
use super::names::{Names, name, names};
use super::{LONGEST_PATTERN, Wrong};

/// Formats a time, in ms since 1970, by `pattern` in a language and a country, English unless one is given, as it is in `zone`.
///
/// # Errors
/// A letter without a meaning, an open quote, a language that isn't known, a time that is none.
pub(crate) fn format(
    time_ms: f64,
    pattern: &str,
    language: Option<&str>,
    country: Option<&str>,
    zone: &TimeZone,
) -> Result<String, Wrong> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(Wrong::LongPattern);
    }
    let names = names(language)?;
    let time = timestamp(time_ms).ok_or(Wrong::Time(time_ms))?.to_zoned(zone.clone());
    let writer = Writer { time, names, weeks: weeks(names.language, country), pattern };
    writer.write()
}

fn timestamp(time_ms: f64) -> Option<Timestamp> {
    // beyond 2^53 there are no whole milliseconds, and no dates either
    let whole = time_ms.floor();
    if whole.is_nan() || whole.abs() > 9.0e15 {
        return None;
    }
    Timestamp::from_millisecond(whole as i64).ok()
}

struct Writer<'a> {
    time: Zoned,
    names: &'static Names,
    weeks: Weeks,
    pattern: &'a str,
}

impl Writer<'_> {
    fn write(&self) -> Result<String, Wrong> {
        let mut out = String::new();
        let mut rest = self.pattern;
        while let Some(c) = rest.chars().next() {
            if c == '\'' {
                rest = self.quoted(&mut out, rest)?;
            } else if c.is_ascii_alphabetic() {
                let end = rest.find(|other| other != c).unwrap_or(rest.len());
                self.field(&mut out, c, end)?;
                rest = rest.get(end..).unwrap_or_default();
            } else {
                out.push(c);
                rest = rest.get(c.len_utf8()..).unwrap_or_default();
            }
        }
        Ok(out)
    }

    /// Text in quotes, and what is behind it. Two quotes are one, inside and outside.
    fn quoted<'p>(&self, out: &mut String, rest: &'p str) -> Result<&'p str, Wrong> {
        let open = || Wrong::OpenQuote(self.pattern.to_owned());
        let mut rest = rest.get(1..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix('\'') {
            out.push('\'');
            return Ok(after);
        }
        loop {
            let (text, after) = rest.split_once('\'').ok_or_else(open)?;
            out.push_str(text);
            match after.strip_prefix('\'') {
                Some(after) => {
                    out.push('\'');
                    rest = after;
                }
                None => return Ok(after),
            }
        }
    }

    /// One letter that is written `count` times.
    fn field(&self, out: &mut String, letter: char, count: usize) -> Result<(), Wrong> {
        let date = self.time.date();
        let text = match letter {
            'G' => name(self.names.eras, usize::from(date.year() > 0)),
            'y' => year(of_era(date.year().into()), count),
            'Y' => year(of_era(self.week_of_year(date).0), count),
            'M' | 'L' if count >= 3 => self.month(count),
            'E' => self.day(count),
            'a' => name(self.names.halves, usize::from(self.time.hour() >= 12)),
            'z' => self.zone(count),
            'Z' => offset(self.time.offset(), "", true),
            'X' if count <= 3 => self.iso_offset(count),
            _ => match self.number(letter) {
                Some(number) => padded(number, count),
                None => return Err(Wrong::Letter(letter, self.pattern.to_owned())),
            },
        };
        out.push_str(&text);
        Ok(())
    }

    /// The number that a letter stands for.
    fn number(&self, letter: char) -> Option<i32> {
        let date = self.time.date();
        let hour = i32::from(self.time.hour());
        Some(match letter {
            'M' | 'L' => i32::from(date.month()),
            'w' => self.week_of_year(date).1,
            'W' => self.week_of_month(date),
            'D' => i32::from(date.day_of_year()),
            'd' => i32::from(date.day()),
            'F' => (i32::from(date.day()) - 1) / 7 + 1,
            'u' => i32::from(date.weekday().to_monday_one_offset()),
            'H' => hour,
            'k' if hour == 0 => 24,
            'k' => hour,
            'K' => hour % 12,
            'h' => (hour + 11) % 12 + 1,
            'm' => i32::from(self.time.minute()),
            's' => i32::from(self.time.second()),
            'S' => i32::from(self.time.millisecond()),
            _ => return None,
        })
    }

    fn month(&self, count: usize) -> String {
        let list = if count > 3 { self.names.months } else { self.names.short_months };
        name(list, usize::try_from(self.time.month() - 1).unwrap_or(0))
    }

    fn day(&self, count: usize) -> String {
        let list = if count > 3 { self.names.days } else { self.names.short_days };
        name(list, usize::try_from(self.time.weekday().to_monday_zero_offset()).unwrap_or(0))
    }

    /// The abbreviation of the zone, or its distance from Greenwich where it has only that.
    fn zone(&self, count: usize) -> String {
        let zone = self.time.time_zone();
        let info = zone.to_offset_info(self.time.timestamp());
        // a machine that does not say where it is has the time of Greenwich
        let abbreviation = if zone.is_unknown() { "UTC" } else { info.abbreviation() };
        match abbreviation {
            "UTC" if count > 3 => "Coordinated Universal Time".to_owned(),
            text if text.starts_with(|c: char| c.is_ascii_alphabetic()) => text.to_owned(),
            _ => format!("GMT{}", offset(info.offset(), ":", true)),
        }
    }

    fn iso_offset(&self, count: usize) -> String {
        match self.time.offset() {
            Offset::UTC => "Z".to_owned(),
            distance => offset(distance, if count == 3 { ":" } else { "" }, count > 1),
        }
    }

    /// The year that a week belongs to, and the week's number in it.
    fn week_of_year(&self, date: Date) -> (i32, i32) {
        let (year, day) = (i32::from(date.year()), i32::from(date.day_of_year()) - 1);
        let into_week = self.day_of_week(date);
        let week = self.week(day, into_week);
        let days = i32::from(date.days_in_year());
        if week == 0 {
            let days_before = Date::new(date.year().saturating_sub(1), 1, 1)
                .map_or(365, |date| i32::from(date.days_in_year()));
            return (year - 1, self.week(day + days_before, into_week));
        }
        // the days of this week that are in the next year
        let beyond = (day - into_week + 7 - days).max(0);
        if beyond >= self.weeks.fewest { (year + 1, 1) } else { (year, week) }
    }

    fn week_of_month(&self, date: Date) -> i32 {
        self.week(i32::from(date.day()) - 1, self.day_of_week(date))
    }

    /// Days since the first day of the week.
    fn day_of_week(&self, date: Date) -> i32 {
        (i32::from(date.weekday().since(Weekday::Monday)) + 8 - self.weeks.first).rem_euclid(7)
    }

    /// The number of the week that holds a day (from 0) of a year or month; 0 before the first week.
    fn week(&self, day: i32, into_week: i32) -> i32 {
        let week_start = day - into_week;
        // the days that the week of the first day has
        let first = (week_start + 6).rem_euclid(7) + 1;
        (week_start + 6).div_euclid(7) + i32::from(first >= self.weeks.fewest)
    }
}

/// A year and an era for one number: there is no year 0.
fn of_era(year: i32) -> i32 {
    if year > 0 { year } else { 1 - year }
}

/// Two letters are the last two digits.
fn year(year: i32, count: usize) -> String {
    padded(if count == 2 { year % 100 } else { year }, count)
}

fn padded(number: i32, count: usize) -> String {
    format!("{number:0count$}")
}

/// `+0130`, with something between hours and minutes, or without the minutes.
fn offset(offset: Offset, separator: &str, with_minutes: bool) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
    match with_minutes {
        true => format!("{sign}{hours:02}{separator}{minutes:02}"),
        false => format!("{sign}{hours:02}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A zone by a POSIX rule, so that no zone database is needed.
    fn zone(rule: &str) -> TimeZone {
        TimeZone::posix(rule).unwrap()
    }

    fn pacific() -> TimeZone {
        zone("PST8PDT,M3.2.0,M11.1.0")
    }

    fn ms(text: &str) -> f64 {
        text.parse::<Timestamp>().unwrap().as_millisecond() as f64
    }

    fn english(time: &str, pattern: &str, zone: &TimeZone) -> String {
        format(ms(time), pattern, None, None, zone).unwrap()
    }

    /// The examples of the class documentation of `SimpleDateFormat`: 2001-07-04 12:08:56 in Pacific time.
    #[test]
    fn patterns_of_the_java_documentation() {
        for (pattern, expected) in [
            ("yyyy.MM.dd G 'at' HH:mm:ss z", "2001.07.04 AD at 12:08:56 PDT"),
            ("EEE, MMM d, ''yy", "Wed, Jul 4, '01"),
            ("h:mm a", "12:08 PM"),
            ("hh 'o''clock' a, zzzz", "12 o'clock PM, PDT"),
            ("K:mm a, z", "0:08 PM, PDT"),
            ("yyyyy.MMMMM.dd GGG hh:mm aaa", "02001.July.04 AD 12:08 PM"),
            ("EEE, d MMM yyyy HH:mm:ss Z", "Wed, 4 Jul 2001 12:08:56 -0700"),
            ("yyMMddHHmmssZ", "010704120856-0700"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2001-07-04T12:08:56.235-0700"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2001-07-04T12:08:56.235-07:00"),
            ("YYYY-'W'ww-u", "2001-W27-3"),
        ] {
            assert_eq!(english("2001-07-04T12:08:56.235-07:00", pattern, &pacific()), expected, "{pattern}");
        }
    }

    #[test]
    fn every_letter_is_written() {
        let utc = TimeZone::UTC;
        for (time, pattern, expected) in [
            ("2024-02-29T00:05:09.007Z", "H k K h HH kk KK hh", "0 24 0 12 00 24 00 12"),
            ("2024-02-29T13:05:09.007Z", "H k K h a", "13 13 1 1 PM"),
            ("2024-02-29T00:05:09.007Z", "m mm s ss S SS SSS SSSS", "5 05 9 09 7 07 007 0007"),
            ("2024-02-29T00:05:09.007Z", "D DDD d dd F u E EEEE", "60 060 29 29 5 4 Thu Thursday"),
            (
                "2024-02-29T00:05:09.007Z",
                "M MM MMM MMMM L LL LLL LLLL",
                "2 02 Feb February 2 02 Feb February",
            ),
            ("2024-02-29T00:05:09.007Z", "y yy yyy yyyyy", "2024 24 2024 02024"),
            ("2024-02-29T00:05:09.007Z", "z zzzz Z X XX XXX", "UTC Coordinated Universal Time +0000 Z Z Z"),
            ("-000043-03-15T12:00:00Z", "y G", "44 BC"),
        ] {
            assert_eq!(english(time, pattern, &utc), expected, "{pattern}");
        }
        assert_eq!(english("2024-01-01T12:00:00Z", "z X", &TimeZone::unknown()), "UTC Z");
        let india = zone("<+0530>-5:30");
        assert_eq!(
            english("2024-01-01T00:00:00Z", "H:mm z Z X XX XXX", &india),
            "5:30 GMT+05:30 +0530 +05 +0530 +05:30"
        );
        assert_eq!(english("2024-01-01T12:00:00Z", "HH z X", &pacific()), "04 PST -08");
    }

    /// Weeks as the calendars of the United States and ISO 8601 have them.
    #[test]
    fn weeks_begin_where_the_country_has_it() {
        let weeks = |time: &str, language: &str, country: Option<&str>| {
            format(ms(time), "YYYY w W", Some(language), country, &TimeZone::UTC).unwrap()
        };
        for (time, american, iso) in [
            // a Saturday, a Sunday
            ("2000-01-01T12:00:00Z", "2000 1 1", "1999 52 0"),
            ("2000-01-02T12:00:00Z", "2000 2 2", "1999 52 0"),
            ("2000-01-03T12:00:00Z", "2000 2 2", "2000 1 1"),
            ("2008-12-29T12:00:00Z", "2009 1 5", "2009 1 5"),
            ("2009-12-31T12:00:00Z", "2010 1 5", "2009 53 5"),
            ("2010-01-03T12:00:00Z", "2010 2 2", "2009 53 0"),
            ("2005-01-01T12:00:00Z", "2005 1 1", "2004 53 0"),
            ("2024-07-04T12:00:00Z", "2024 27 1", "2024 27 1"),
        ] {
            assert_eq!(weeks(time, "en", None), american, "{time}");
            assert_eq!(weeks(time, "de", None), iso, "{time}");
            assert_eq!(weeks(time, "en", Some("gb")), iso, "{time}");
        }
    }

    #[test]
    fn languages_have_their_own_names() {
        let written = |language: &str| {
            format(
                ms("2024-03-06T15:00:00Z"),
                "EEEE, d. MMMM y; EEE MMM a",
                Some(language),
                None,
                &TimeZone::UTC,
            )
            .unwrap()
        };
        assert_eq!(written("de"), "Mittwoch, 6. März 2024; Mi. März PM");
        assert_eq!(written("FR"), "mercredi, 6. mars 2024; mer. mars PM");
        assert_eq!(written("es"), "miércoles, 6. marzo 2024; mié mar p.\u{a0}m.");
        assert_eq!(written("ja"), "水曜日, 6. 3月 2024; 水 3月 午後");
        let error = format(0.0, "y", Some("fi"), None, &TimeZone::UTC).unwrap_err().to_string();
        assert_eq!(
            error,
            "\"fi\" is not a language that dates can be written in here: use one of da de en es fr it ja nl pt sv"
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = |time: f64, pattern: &str| format(time, pattern, None, None, &TimeZone::UTC).unwrap_err();
        assert_eq!(wrong(0.0, "yyyy b"), Wrong::Letter('b', "yyyy b".to_owned()));
        assert_eq!(wrong(0.0, "XXXX"), Wrong::Letter('X', "XXXX".to_owned()));
        assert_eq!(wrong(0.0, "y 'at"), Wrong::OpenQuote("y 'at".to_owned()));
        assert_eq!(wrong(0.0, "'a''"), Wrong::OpenQuote("'a''".to_owned()));
        assert_eq!(wrong(1e18, "y"), Wrong::Time(1e18));
        assert!(wrong(f64::NAN, "y").to_string().starts_with("the time NaN ms is not within"));
        assert_eq!(wrong(0.0, &"y".repeat(1001)), Wrong::LongPattern);
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_time_makes_it_panic(time in any::<f64>(), pattern in "[A-Za-z' é]{0,12}", language in prop::sample::select(vec!["en", "de", "ja"])) {
            let _ = format(time, &pattern, Some(language), None, &pacific());
        }

        #[test]
        fn iso_weeks_are_those_of_jiff(day in -700_000i64..2_900_000) {
            let time = day as f64 * 86_400_000.0;
            let iso = timestamp(time).unwrap().to_zoned(TimeZone::UTC).date().iso_week_date();
            prop_assume!(iso.year() > 0);
            let ours = format(time, "YYYY-w-u", Some("de"), None, &TimeZone::UTC).unwrap();
            prop_assert_eq!(ours, format!("{:04}-{}-{}", iso.year(), iso.week(), iso.weekday().to_monday_one_offset()));
        }
    }
}
