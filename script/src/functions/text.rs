//! Texts: dates and numbers by patterns, and digests.

use jiff::tz::TimeZone;
use rquickjs::{Coerced, FromJs};

use crate::call::Call;
use crate::catalogue::Function;
use crate::text::{date, md5, number};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function {
        name: "formatDate",
        parameters: "date, pattern[, language[, country]]",
        what: "The text of a date, or of a time in milliseconds since 1970, by a pattern of Java's `SimpleDateFormat`, in the time \
               zone of this machine: `y` year, `M` month (`MMM` its short name, `MMMM` its name), `d` day, `E` day of the week \
               (`EEEE` in full), `H` hour, `m` minute, `s` second, `S` millisecond, `h` hour of 12 with `a` for AM and PM, `D` day \
               of the year, `w` week of the year and `Y` its year, `W` week of the month, `F` which such weekday of the month, \
               `u` weekday's number from Monday, `k` hour from 1 to 24, `K` hour from 0 to 11, `G` era, `z` abbreviation of the \
               zone, `Z` and `X` its distance from Greenwich; text stands in single quotes. Languages are `da`, `de`, `en` (without \
               one), `es`, `fr`, `it`, `ja`, `nl`, `pt` and `sv`; the country says how weeks are counted. Long names of zones \
               (`zzzz`) are not known and are abbreviated. Throws an error for a pattern, a date or a language that is none.",
        example: "logInfo(formatDate(new Date(), \"EEE, d MMM yyyy HH:mm:ss Z\"));\n\
                  logInfo(formatDate(Date.now(), \"EEEE, d. MMMM\", 'de', 'DE'));",
        call: |_, call| {
            let (time_ms, pattern) = (to_number(&call, 0)?, call.text(1)?);
            let (language, country) = (call.optional_text(2)?, call.optional_text(3)?);
            let zone = TimeZone::system();
            let text = date::format(time_ms, &pattern, language.as_deref(), country.as_deref(), &zone);
            call.give_plain(text.map_err(|wrong| call.fail(wrong))?)
        },
    },
    Function {
        name: "formatNumber",
        parameters: "number, pattern[, language[, country]]",
        what: "The text of a number by a pattern of Java's `DecimalFormat`: `0` a digit, `#` a digit unless it is a leading or trailing \
               zero, `,` groups of digits, `.` the point, `%` and `‰` hundredths and thousandths, `E0` an exponent, `;` before a \
               pattern for negative numbers; text stands before and after, in single quotes where it has one of these. What is cut \
               off is rounded half to even. The point and the groups are those of the language, English without one, and of the \
               country. Throws an error for a pattern or a language that is none.",
        example: "logInfo(formatNumber(1234567, '#,##0 seconds'));\n\
                  logInfo(formatNumber(0.256, '0.0%', 'fr', 'FR'));",
        call: |_, call| {
            let (value, pattern) = (to_number(&call, 0)?, call.text(1)?);
            let (language, country) = (call.optional_text(2)?, call.optional_text(3)?);
            let text = number::format(value, &pattern, language.as_deref(), country.as_deref());
            call.give_plain(text.map_err(|wrong| call.fail(wrong))?)
        },
    },
    Function {
        name: "md5",
        parameters: "text",
        what: "The MD5 of a text in UTF-8, as 32 lower-case hexadecimal digits. It tells texts apart and protects nothing.",
        example: "logInfo(md5('10.0.0.1,10.0.0.2'));",
        call: |_, call| {
            let text = call.text(0)?;
            call.give_plain(md5(&text))
        },
    },
];

/// An argument as JavaScript's `Number(value)` has it: a date is its milliseconds, and what is no number is NaN.
fn to_number(call: &Call<'_>, at: usize) -> rquickjs::Result<f64> {
    match call.value(at) {
        Some(value) => Coerced::<f64>::from_js(&call.ctx, value.clone()).map(|number| number.0),
        None => Ok(f64::NAN),
    }
}
