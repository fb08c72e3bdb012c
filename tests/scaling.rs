//! `finderscope autoscale simulate`: what it prints of a curve of loads.

use crate::support::finderscope;

/// A block of the manual page, by what stands behind its fence.
fn block(kind: &str) -> &'static str {
    let page = include_str!("../manual/autoscale.md");
    let block = page.split(&format!("```{kind}\n")).nth(1).unwrap();
    block.split("```").next().unwrap()
}

#[test]
fn what_a_load_would_cause_is_as_the_manual_shows() {
    let folder = tempfile::tempdir().unwrap();
    let (config, load) = (folder.path().join("finderscope.toml"), folder.path().join("load.csv"));
    std::fs::write(&config, block("toml")).unwrap();
    std::fs::write(&load, block("csv")).unwrap();
    let simulate = || {
        let mut command = finderscope();
        command.args(["autoscale", "simulate", "--config"]).arg(&config).arg("--load").arg(&load);
        command.output().unwrap()
    };
    let output = simulate();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), block("text"));
    // What is wrong with a curve is said by its line.
    std::fs::write(&load, "0,apache,vir_cpu_utilization,0.3\n9,apache,nosuch,1\n").unwrap();
    let output = simulate();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert!(said.contains("load.csv") && said.contains("line 2"), "{said}");
}
