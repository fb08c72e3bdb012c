//! The article's scripts with other addresses and otherwise as they stand there, where they are at hand.

use super::{articles, elb, emerging};

#[test]
fn the_articles_scripts_run_as_they_stand() {
    let Some(folder) = articles() else {
        eprintln!("NOT RUN: the article's scripts are not here; FINDERSCOPE_ARTICLE may name their folder");
        assert!(std::env::var_os("CI").is_none(), "continuous integration needs the article's scripts");
        return;
    };
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let emerging = text("emerging.js");
    for guarded in [true, false] {
        emerging::captures_listed_traffic(&emerging, guarded);
    }
    elb::scales_a_real_service(&text("elb.js"), 3);
}
