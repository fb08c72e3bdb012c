//! Texts and baselines, by the documentation of Java, RFC 1321 and textbooks.

use super::{Known, Says};

/// Eight values whose mean is 5 and whose standard deviation is 2.
const EIGHT: &str = "baselineCreate('known', 8, 2, 1);\n\
                     [2, 4, 4, 4, 5, 5, 7, 9].forEach(function(value) { baselineCheck('known', value); });";

pub(super) fn known() -> Vec<Known> {
    let entry = |name, first, asks, json| Known { name, first, asks, says: Says::Json(json) };
    vec![
        entry(
            "formatDate",
            "",
            "formatDate(new Date(2001, 6, 4, 12, 8, 56), \"EEE, MMM d, ''yy h:mm a\")",
            "\"Wed, Jul 4, '01 12:08 PM\"",
        ),
        entry("formatNumber", "", "formatNumber(12345.67, '$###,###.###')", "\"$12,345.67\""),
        entry("md5", "", "md5('message digest')", "\"f96b697d7cb7938d525a2f31aaf161d0\""),
        entry(
            "baselineCreate",
            "",
            "(baselineCreate('new', 1), baselineCheck('new', 3) + baselineCheck('new', 3))",
            "\"learningnormal\"",
        ),
        entry("baselineCheck", EIGHT, "baselineCheck('known', 90)", "\"high\""),
        entry(
            "baselineStatistics",
            EIGHT,
            "baselineStatistics('known')",
            "{\"mean\":5,\"variance\":4,\"sdev\":2,\"min\":2,\"max\":9}",
        ),
        entry("baselineReset", EIGHT, "(baselineReset('known'), baselineStatistics('known'))", "null"),
        entry(
            "baselineDelete",
            "",
            "(function() { baselineCreate('gone'); baselineDelete('gone'); try { baselineReset('gone'); } catch (e) { return String(e); } })()",
            "\"Error: baselineReset: there is no baseline \\\"gone\\\": make it with baselineCreate\"",
        ),
    ]
}
