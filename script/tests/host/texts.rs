//! Dates, numbers, digests and baselines, as scripts get them.

use serde_json::{Value as Json, json};

use crate::asking::Console;

#[test]
fn numbers_and_digests_are_written() {
    let script = Console::new();
    assert_eq!(script.run("formatNumber(4321, '#,##0 seconds')"), "4,321 seconds");
    assert_eq!(script.run("formatNumber('1234.5', '#,##0.00', 'de', 'DE')"), "1.234,50");
    assert_eq!(script.run("formatNumber(undefined, '0')"), "NaN");
    assert_eq!(
        script.throws("formatNumber(1, '0#0')"),
        "Error: formatNumber: the pattern \"0#0\" is not one of numbers: a 0 stands after a # that stands after a 0"
    );
    assert_eq!(script.throws("formatNumber(1)"), "TypeError: formatNumber: argument 2 (pattern) is missing");
    assert_eq!(script.run("md5('abc')"), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(script.throws("md5()"), "TypeError: md5: argument 1 (text) is missing");
}

#[test]
fn dates_are_written_in_the_zone_of_the_machine() {
    let script = Console::new();
    script.run("var noon = new Date(Date.UTC(2024, 6, 17, 12)); 1");
    // the third Wednesday of July is in the same week in every zone
    assert_eq!(script.run("formatDate(noon, \"yyyy-'W'ww MMMM\")"), "2024-W29 July");
    assert_eq!(script.run("formatDate(noon.getTime(), 'MMMM yyyy', 'de')"), "Juli 2024");
    // QuickJS asks the C library for the zone
    let text =
        script.run("[noon.getDate(), noon.getHours(), noon.getMinutes(), noon.getDay() || 7].join(' ')");
    assert_eq!(script.run("formatDate(noon, 'd H m u')"), text);
    let error = script.throws("formatDate(new Date('no date'), 'y')");
    assert!(error.starts_with("Error: formatDate: the time NaN ms is not within"), "{error}");
    let error = script.throws("formatDate(0, 'y b')");
    assert!(error.starts_with("Error: formatDate: 'b' in the pattern \"y b\" has no meaning"), "{error}");
}

#[test]
fn baselines_learn_and_tell() {
    let script = Console::new();
    let seven = "[2, 4, 4, 4, 5, 5, 7].map(function(v) { return baselineCheck('a', v); }).join()";
    script.run("baselineCreate('a', 8, '2', 1)");
    assert_eq!(script.run(seven), "learning,learning,learning,learning,learning,learning,learning");
    assert_eq!(script.run("baselineStatistics('a')"), Json::Null);
    assert_eq!(script.run("baselineCheck('a', 9)"), "learning");
    // eight values of which textbooks say that their mean is 5 and their standard deviation 2
    let known = json!({ "mean": 5, "variance": 4, "sdev": 2, "min": 2, "max": 9 });
    assert_eq!(script.run("baselineStatistics('a')"), known);
    let checks = "[baselineCheck('a', 9.5), baselineCheck('a', undefined), baselineCheck('a', '6')].join()";
    assert_eq!(script.run(checks), "high,high,normal");
    assert_eq!(script.run("baselineReset('a'); baselineCheck('a', 1)"), "learning");
    let unknown = "Error: baselineCheck: there is no baseline \"a\": make it with baselineCreate";
    assert_eq!(script.throws("baselineDelete('a'); baselineDelete('a'); baselineCheck('a', 1)"), unknown);
    assert!(script.throws("baselineStatistics('never')").contains("there is no baseline \"never\""));
}

#[test]
fn baselines_have_limits() {
    let script = Console::new();
    let wrong = "TypeError: baselineCreate: argument 2 (window) must be 1 to 10000 values";
    assert_eq!(script.throws("baselineCreate('b', 0)"), wrong);
    let wrong = "TypeError: baselineCreate: argument 3 (sensitivity) must not be negative";
    assert_eq!(script.throws("baselineCreate('b', 10, -1)"), wrong);
    script.run("for (var i = 0; i < 100; i++) baselineCreate('big' + i, 10000)");
    let error = script.throws("baselineCreate('one', 1)");
    assert!(error.starts_with("Error: baselineCreate: a script has 10,000 baselines at most"), "{error}");
    script.run("baselineCreate('big7', 9000); for (var i = 0; i < 1000; i++) baselineCreate('small' + i, 1)");
    assert!(script.throws("baselineCreate('one', 1)").starts_with("Error: baselineCreate: a script has"));
}
