//! Numbers as texts by the patterns of Java's `DecimalFormat`.
//!
//! The digits are the fewest that name the number among all of its type; what is cut off is rounded half to even, by the number's
//! own binary value where its digits are halfway. `¤` for money is refused.

use super::Wrong;
use super::digits::Digits;
use super::locale::{Symbols, symbols};

/// Formats `value` by `pattern` in a language and a country, English unless one is given.
///
/// # Errors
/// A pattern that is none, a language that isn't known.
pub(crate) fn format(
    value: f64,
    pattern: &str,
    language: Option<&str>,
    country: Option<&str>,
) -> Result<String, Wrong> {
    let symbols = symbols(language, country)?;
    let pattern = Pattern::parse(pattern)?;
    if value.is_nan() {
        return Ok("NaN".to_owned());
    }
    let negative = value.is_sign_negative();
    let affixes = if negative { &pattern.negative } else { &pattern.positive };
    let mut out = String::new();
    affix(&mut out, &affixes.before, symbols);
    let size = value.abs() * pattern.multiplier;
    if size.is_infinite() {
        out.push('∞');
    } else if pattern.exponent_digits > 0 {
        pattern.scientific(&mut out, size, symbols);
    } else {
        pattern.plain(&mut out, size, symbols);
    }
    affix(&mut out, &affixes.after, symbols);
    Ok(out)
}

/// What stands before and after the digits; [`MINUS`] is for the sign of the language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Affixes {
    before: String,
    after: String,
}

/// Stands for the minus sign in an affix; a private character, which a pattern has no business with.
const MINUS: char = '\u{f8ff}';

fn affix(out: &mut String, text: &str, symbols: Symbols) {
    out.extend(text.chars().map(|c| if c == MINUS { symbols.minus } else { c }));
}

/// A pattern that has been read.
#[derive(Debug, Default)]
struct Pattern {
    positive: Affixes,
    negative: Affixes,
    multiplier: f64,
    fewest_integers: usize,
    /// The most digits before the point, in scientific notation.
    most_integers: usize,
    fewest_fractions: usize,
    most_fractions: usize,
    /// Digits between two separators of groups; 0 for no groups.
    grouping: usize,
    /// Whether there is a point without a digit after it, too.
    always_point: bool,
    /// The fewest digits of the exponent; 0 for plain notation.
    exponent_digits: usize,
}

impl Pattern {
    fn plain(&self, out: &mut String, size: f64, symbols: Symbols) {
        let digits = Digits::fixed(size, self.most_fractions);
        let point = usize::try_from(digits.point).unwrap_or(0);
        let integers = self.fewest_integers.max(point);
        for place in (0..integers).rev() {
            out.push(digits.at(place as i64));
            if self.grouping > 0 && place > 0 && place % self.grouping == 0 {
                out.push(symbols.grouping);
            }
        }
        let present = usize::try_from(digits.digits.len() as i64 - i64::from(digits.point)).unwrap_or(0);
        let fractions = if digits.digits.is_empty() { 0 } else { present }
            .clamp(self.fewest_fractions, self.most_fractions);
        if integers == 0 && fractions == 0 {
            out.push('0');
        }
        if fractions > 0 || self.always_point {
            out.push(symbols.decimal);
        }
        out.extend((0..fractions).map(|i| digits.at(-1 - i as i64)));
    }

    fn scientific(&self, out: &mut String, size: f64, symbols: Symbols) {
        // more integer digits allowed than wanted: the exponent is a multiple of their number
        let repeats = self.most_integers > 1 && self.most_integers > self.fewest_integers;
        let most = if repeats { self.fewest_integers } else { self.most_integers } + self.most_fractions;
        let digits = Digits::significant(size, most.max(1));
        let fewest_integers = if repeats { 1 } else { self.fewest_integers };
        let exponent = match (digits.digits.is_empty(), repeats) {
            (true, _) => 0,
            (_, true) => {
                let step = i32::try_from(self.most_integers).unwrap_or(i32::MAX);
                (digits.point - 1).div_euclid(step).saturating_mul(step)
            }
            (_, false) => digits.point - i32::try_from(fewest_integers).unwrap_or(0),
        };
        let integers = if digits.digits.is_empty() {
            fewest_integers
        } else {
            usize::try_from(digits.point - exponent).unwrap_or(0)
        };
        let total = (self.fewest_integers + self.fewest_fractions).max(integers).max(digits.digits.len());
        for i in 0..total {
            if i == integers {
                out.push(symbols.decimal);
            }
            out.push(char::from(b'0' + digits.digits.get(i).copied().unwrap_or(0)));
        }
        if self.always_point && total == integers {
            out.push(symbols.decimal);
        }
        out.push('E');
        if exponent < 0 {
            out.push(symbols.minus);
        }
        out.push_str(&format!("{:0width$}", exponent.unsigned_abs(), width = self.exponent_digits));
    }
}

/// The digits of a pattern as they are counted.
#[derive(Default)]
struct Counts {
    left: usize,
    zeros: usize,
    right: usize,
    /// Digits since the last separator of groups.
    group: Option<usize>,
    /// Digits before the point.
    point: Option<usize>,
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, Wrong> {
        if text.len() > super::LONGEST_PATTERN {
            return Err(Wrong::LongPattern);
        }
        let mut reader = Reader { text, rest: text, multiplier: 1.0 };
        let mut pattern = Pattern::default();
        pattern.positive.before = reader.affix(true)?;
        if text.is_empty() {
            pattern.most_fractions = MOST_FRACTIONS;
        } else {
            reader.digits(&mut pattern)?;
        }
        pattern.positive.after = reader.affix(false)?;
        pattern.multiplier = reader.multiplier;
        pattern.negative = Affixes {
            before: format!("{MINUS}{}", pattern.positive.before),
            after: pattern.positive.after.clone(),
        };
        if let Some(rest) = reader.rest.strip_prefix(';')
            && !rest.is_empty()
        {
            // of the digits of a negative pattern only the place counts
            let mut reader = Reader { text, rest, multiplier: 1.0 };
            let before = reader.affix(true)?;
            reader.digits(&mut Pattern::default())?;
            let negative = Affixes { before, after: reader.affix(false)? };
            if !reader.rest.is_empty() {
                return Err(reader.wrong("it has more than two parts between semicolons"));
            }
            if negative != pattern.positive {
                pattern.negative = negative;
            }
        }
        Ok(pattern)
    }
}

/// Digits after the point when a pattern says nothing: more than any number has.
const MOST_FRACTIONS: usize = 340;

/// Reads a pattern from left to right.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
    multiplier: f64,
}

impl Reader<'_> {
    fn wrong(&self, why: &'static str) -> Wrong {
        Wrong::Number(self.text.to_owned(), why)
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        Some(c)
    }

    /// What stands before (`first`) or after the digits.
    fn affix(&mut self, first: bool) -> Result<String, Wrong> {
        let mut out = String::new();
        let mut quoted = false;
        while let Some(c) = self.rest.chars().next() {
            match c {
                '\'' if self.rest.starts_with("''") => {
                    self.next();
                    out.push('\'');
                }
                '\'' => quoted = !quoted,
                c if quoted => out.push(c),
                '#' | '0' | ',' | '.' if first => break,
                '#' | '0' | ',' | '.' => {
                    return Err(self.wrong(
                        "a digit or a separator stands in the text after the digits: put it in single quotes",
                    ));
                }
                ';' if !first => break,
                ';' => {
                    return Err(self.wrong("a semicolon stands before the digits: put it in single quotes"));
                }
                '%' => {
                    self.multiply(100.0)?;
                    out.push(c);
                }
                '‰' => {
                    self.multiply(1000.0)?;
                    out.push(c);
                }
                '-' => out.push(MINUS),
                '¤' => return Err(self.wrong("money (¤) is not supported")),
                c => out.push(c),
            }
            self.next();
        }
        if quoted {
            return Err(Wrong::OpenQuote(self.text.to_owned()));
        }
        Ok(out)
    }

    fn multiply(&mut self, by: f64) -> Result<(), Wrong> {
        if self.multiplier != 1.0 {
            return Err(self.wrong("it has more than one % or ‰"));
        }
        self.multiplier = by;
        Ok(())
    }

    /// The digits, separators and exponent.
    fn digits(&mut self, pattern: &mut Pattern) -> Result<(), Wrong> {
        let mut counts = Counts::default();
        while let Some(c) = self.rest.chars().next() {
            match c {
                '#' if counts.zeros > 0 => counts.right += 1,
                '#' => counts.left += 1,
                '0' if counts.right > 0 => {
                    return Err(self.wrong("a 0 stands after a # that stands after a 0"));
                }
                '0' => counts.zeros += 1,
                ',' if counts.point.is_some() => return Err(self.wrong("a comma stands after the point")),
                ',' => counts.group = Some(0),
                '.' if counts.point.is_some() => return Err(self.wrong("it has more than one point")),
                '.' => counts.point = Some(counts.left + counts.zeros + counts.right),
                'E' => {
                    self.exponent(&counts, pattern)?;
                    break;
                }
                _ => break,
            }
            if matches!(c, '#' | '0') && counts.point.is_none() {
                counts.group = counts.group.map(|group| group + 1);
            }
            self.next();
        }
        self.finish(counts, pattern)
    }

    fn exponent(&mut self, counts: &Counts, pattern: &mut Pattern) -> Result<(), Wrong> {
        self.next();
        while self.rest.starts_with('0') {
            self.next();
            pattern.exponent_digits += 1;
        }
        if pattern.exponent_digits == 0 || counts.left + counts.zeros == 0 {
            return Err(self.wrong(
                "an E stands behind a digit and before at least one 0: put it in single quotes if it is text",
            ));
        }
        if counts.group.is_some() {
            return Err(self.wrong("there are no groups of digits before an exponent"));
        }
        Ok(())
    }

    /// What the counted digits mean, by the rules of `applyPattern`.
    fn finish(&self, mut counts: Counts, pattern: &mut Pattern) -> Result<(), Wrong> {
        if let Some(point) = counts.point
            && counts.zeros == 0
            && counts.left > 0
        {
            // `#.##`: one digit before the point; `.##`: one behind it
            let whole = point.max(1);
            counts.right = counts.left - whole;
            counts.left = whole - 1;
            counts.zeros = 1;
        }
        let total = counts.left + counts.zeros + counts.right;
        let misplaced = match counts.point {
            None => counts.right > 0,
            Some(point) => point < counts.left || point > counts.left + counts.zeros,
        };
        if misplaced || counts.group == Some(0) {
            return Err(self.wrong("its digits are out of order: write # before 0 in front of the point, and 0 before # behind it"));
        }
        let point = counts.point.unwrap_or(total);
        pattern.fewest_integers = point - counts.left;
        pattern.most_integers = counts.left + pattern.fewest_integers;
        pattern.most_fractions = total - point;
        pattern.fewest_fractions = (counts.left + counts.zeros).saturating_sub(point);
        pattern.grouping = counts.group.unwrap_or(0);
        pattern.always_point = counts.point.is_some_and(|point| point == 0 || point == total);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn english(value: f64, pattern: &str) -> String {
        format(value, pattern, None, None).unwrap()
    }

    #[test]
    fn patterns_of_the_java_tutorial() {
        assert_eq!(english(123_456.789, "###,###.###"), "123,456.789");
        assert_eq!(english(123_456.789, "###.##"), "123456.79");
        assert_eq!(english(123.78, "000000.000"), "000123.780");
        assert_eq!(english(12_345.67, "$###,###.###"), "$12,345.67");
        assert_eq!(format(123_456.789, "###,###.###", Some("de"), Some("DE")).unwrap(), "123.456,789");
        assert_eq!(format(123_456.789, "###,###.###", Some("fr"), Some("FR")).unwrap(), "123\u{202f}456,789");
    }

    /// The examples of the class documentation of `DecimalFormat`.
    #[test]
    fn patterns_of_the_java_documentation() {
        assert_eq!(english(1234.0, "0.###E0"), "1.234E3");
        assert_eq!(english(12_345.0, "##0.#####E0"), "12.345E3");
        assert_eq!(english(123_456.0, "##0.#####E0"), "123.456E3");
        assert_eq!(english(0.00123, "00.###E0"), "12.3E-4");
        assert_eq!(english(12_345.0, "##0.##E0"), "12.3E3");
        assert_eq!(english(-1234.5, "#,##0.00;(#,##0.00)"), "(1,234.50)");
        assert_eq!(english(123.0, "'#'#"), "#123");
        assert_eq!(english(3.0, "# o''clock"), "3 o'clock");
        assert_eq!(english(0.25, "#%"), "25%");
        assert_eq!(english(0.25, "0‰"), "250‰");
        assert_eq!(english(123_456_789.0, "#,##,###,####"), "1,2345,6789");
    }

    #[test]
    fn patterns_of_scripts() {
        assert_eq!(english(4321.0, "#,##0 seconds"), "4,321 seconds");
        assert_eq!(english(0.0, "#,##0 seconds"), "0 seconds");
        assert_eq!(english(0.0, "#,### samples"), "0 samples");
        assert_eq!(english(1_234_567.0, "#,### samples"), "1,234,567 samples");
        assert_eq!(english(12.4, "0'%' difference"), "12% difference");
    }

    #[test]
    fn rounding_is_half_to_even_on_the_value() {
        let rounded =
            |pattern: &str, values: &[f64]| values.iter().map(|v| english(*v, pattern)).collect::<Vec<_>>();
        // Java's documentation of RoundingMode.HALF_EVEN
        assert_eq!(rounded("0", &[5.5, 2.5, 1.6, 1.1, 1.0]), ["6", "2", "2", "1", "1"]);
        assert_eq!(rounded("0", &[-5.5, -2.5, -1.6, -1.1, -1.0]), ["-6", "-2", "-2", "-1", "-1"]);
        // 0.805 is above the half and 1.15 below it as doubles; 0.125 and 0.375 are exact
        assert_eq!(rounded("0.00", &[0.805, 0.125, 0.375]), ["0.81", "0.12", "0.38"]);
        assert_eq!(rounded("0.0", &[1.15, 1.25, 1.35]), ["1.1", "1.2", "1.4"]);
        assert_eq!(
            rounded("0.0", &[0.05, 0.04, 0.06, 0.95, 9.96, 99.95]),
            ["0.1", "0.0", "0.1", "0.9", "10.0", "100.0"]
        );
        assert_eq!(rounded("0", &[0.5, 0.4, 0.6, 1.5]), ["0", "0", "1", "2"]);
    }

    #[test]
    fn digits_are_the_fewest_that_name_the_number() {
        assert_eq!(english(1e23, "0"), "100000000000000000000000");
        assert_eq!(english(0.1, "0.####################"), "0.1");
        assert_eq!(english(1e-7, "0.##########"), "0.0000001");
        assert_eq!(english(5e-324, "0.###E0"), "5E-324");
        assert_eq!(english(9_007_199_254_740_993.0, "#,##0"), "9,007,199,254,740,992");
        assert_eq!([english(1234.5678, ""), english(5.0, "text ")], ["1234.5678", "text 5"]);
    }

    #[test]
    fn hashes_and_zeros_are_what_may_and_must_be_there() {
        assert_eq!(
            [english(0.5, "#.##"), english(0.5, ".##"), english(0.5, "#.00"), english(0.0, ".##")],
            ["0.5", ".5", ".50", ".0"]
        );
        assert_eq!(
            [english(3.0, "0."), english(3.0, "#."), english(0.0, "#"), english(12.0, "0000")],
            ["3.", "3.", "0", "0012"]
        );
        assert_eq!([english(5.0, "00,000"), english(1234567.0, "#,#0")], ["00,005", "1,23,45,67"]);
        assert_eq!(
            [
                english(12345.0, "0E0"),
                english(0.0, "0.0E0"),
                english(12345.0, "000E00"),
                english(0.00012, "##0.0E0")
            ],
            ["1E4", "0.0E0", "123E02", "120E-6"]
        );
    }

    #[test]
    fn signs_and_what_is_no_number() {
        assert_eq!([english(-1.5, "0.0"), english(-0.0, "0"), english(-0.4, "0")], ["-1.5", "-0", "-0"]);
        assert_eq!(
            [english(f64::NAN, "0 x"), english(f64::INFINITY, "0 x"), english(f64::NEG_INFINITY, "0")],
            ["NaN", "∞ x", "-∞"]
        );
        assert_eq!(
            [english(2.0, "+0;-0"), english(-2.0, "+0;-0"), english(-2.0, "0;0"), english(-2.0, "0;0-")],
            ["+2", "-2", "-2", "2-"]
        );
        assert_eq!(english(-0.256, "0.0%"), "-25.6%");
    }

    #[test]
    fn languages_have_their_own_symbols() {
        let written = |language: &str, country: Option<&str>| {
            format(-1_234_567.5, "#,##0.0", Some(language), country).unwrap()
        };
        assert_eq!([written("en", None), written("EN", Some("gb"))], ["-1,234,567.5", "-1,234,567.5"]);
        assert_eq!(
            [written("de", None), written("de", Some("CH")), written("de", Some("AT"))],
            ["-1.234.567,5", "-1’234’567.5", "-1\u{a0}234\u{a0}567,5"]
        );
        assert_eq!(
            [written("sv", None), written("pl", None)],
            ["−1\u{a0}234\u{a0}567,5", "-1\u{a0}234\u{a0}567,5"]
        );
        assert_eq!([written("es", Some("ES")), written("es", Some("MX"))], ["-1.234.567,5", "-1,234,567.5"]);
        for language in super::super::locale::LANGUAGES.split(' ') {
            assert!(format(1.0, "0", Some(language), None).is_ok(), "{language}");
        }
        let error = format(1.0, "0", Some("tlh"), None).unwrap_err().to_string();
        assert!(
            error.starts_with("\"tlh\" is not a language that is known here: use one of bg cs "),
            "{error}"
        );
    }

    #[test]
    fn wrong_patterns_are_named() {
        for (pattern, why) in [
            ("0#0", "a 0 stands after a #"),
            ("0.0.0", "more than one point"),
            ("#,", "out of order"),
            ("0.#0", "a 0 stands after a #"),
            ("0 0", "put it in single quotes"),
            (";0", "a semicolon stands before"),
            ("0;0;0", "more than two parts"),
            ("0%%", "more than one %"),
            ("0E", "an E stands behind a digit"),
            ("#,##0E0", "no groups"),
            ("¤0", "money"),
            ("0'x", "a quote is open"),
            ("0.0,0", "a comma stands after"),
        ] {
            let error = format(1.0, pattern, None, None).unwrap_err().to_string();
            assert!(error.contains(why), "{pattern}: {error}");
        }
        assert_eq!(format(1.0, &"0".repeat(1001), None, None), Err(Wrong::LongPattern));
    }

    proptest! {
        #[test]
        fn no_pattern_makes_it_panic(value in any::<f64>(), pattern in "[#0,.;%‰E'x-]{0,12}") {
            let _ = format(value, &pattern, None, None);
        }

        #[test]
        fn fixed_digits_are_those_of_the_standard_library_away_from_ties(value in -1e9..1e9f64, digits in 0..6usize) {
            let pattern = format!("0.{}", "0".repeat(digits));
            let ours = english(value, pattern.trim_end_matches('.'));
            prop_assert_eq!(ours, format!("{value:.digits$}"));
        }

        #[test]
        fn scientific_digits_name_the_number(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let text = english(value, "0.################E0").replace('E', "e");
            prop_assert_eq!(text.parse::<f64>().unwrap(), value);
        }
    }
}
