//! Lines of the log.

use super::{Known, Says};

const fn line(name: &'static str, asks: &'static str, line: &'static str, other: &'static str) -> Known {
    Known { name, first: "", asks, says: Says::Line(line, other) }
}

pub(super) fn known() -> Vec<Known> {
    vec![
        line("logFine", "[logFine('a fine line'), logInfo('beside it')]", "INFO: beside it", "a fine line"),
        line("logInfo", "logInfo('three is ' + 3)", "INFO: three is 3", "WARNING: three is 3"),
        line("logWarning", "logWarning({}.none)", "WARNING: undefined", "INFO: undefined"),
        line("logSevere", "logSevere(null)", "SEVERE: null", "INFO: null"),
    ]
}
