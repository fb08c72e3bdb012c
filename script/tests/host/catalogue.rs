//! The catalogue of functions: each is described, shown by an example that runs, and known to answer rightly.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use script::Request;
use script::catalogue::{self, Function};

use crate::known::{self, Known, Says};
use crate::scene::Scene;
use crate::support::{Host, get, until};

/// How long all of them may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long handlers of an example may be called.
const CALLED: Duration = Duration::from_millis(200);

fn names(all: impl Iterator<Item = &'static str>) -> BTreeSet<&'static str> {
    all.collect()
}

#[test]
fn every_function_has_words_parameters_and_an_example() {
    for Function { name, parameters, what, example, .. } in catalogue::all() {
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        assert!(what.ends_with('.') && what.len() > 20, "{name}: {what:?}");
        assert!(!what.contains('\n'), "{name}: {what:?}");
        assert!(example.contains(&format!("{name}(")), "{name}: the example does not call it: {example}");
        let depth = parameters.chars().try_fold(0_i32, |depth, c| match c {
            '[' => Some(depth + 1),
            ']' => (depth > 0).then_some(depth - 1),
            _ => Some(depth),
        });
        assert_eq!(depth, Some(0), "{name}: {parameters}");
    }
    let all: Vec<_> = catalogue::all().map(|function| function.name).collect();
    assert_eq!(names(all.iter().copied()).len(), all.len(), "two functions have one name: {all:?}");
}

/// Functions among the globals of a script.
const GLOBALS: &str =
    "Object.getOwnPropertyNames(globalThis).filter(n => typeof globalThis[n] === 'function')";

#[test]
fn what_a_script_can_call_is_the_catalogue() {
    let script = format!("setHttpHandler(function() {{ return {GLOBALS}; }});");
    let host = Host::start(&[("globals.js", &script)]);
    let here = host.get("globals.js");
    let here: BTreeSet<&str> = here.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let runtime = rquickjs::Runtime::new().unwrap();
    let context = rquickjs::Context::full(&runtime).unwrap();
    let own: Vec<String> = context.with(|ctx| ctx.eval(GLOBALS).unwrap());
    assert!(own.len() > 30, "JavaScript has functions of its own: {own:?}");
    let own: BTreeSet<&str> = own.iter().map(String::as_str).collect();
    let ours: BTreeSet<&str> = here.difference(&own).copied().collect();
    // What notes where a text was thrown, which no script calls itself.
    let mut known = names(catalogue::all().map(|function| function.name));
    known.insert("__finderscope_thrown");
    assert_eq!(ours, known);
}

#[test]
fn every_example_runs() {
    let scene = Scene::start(known::configure);
    for Function { name, example, .. } in catalogue::all() {
        let file = format!("{name}.js");
        scene.run(&[(file.clone(), (*example).to_owned())]);
        let stands = |of: &str| scene.host.status(&file)[of].clone();
        // Its values are counted when its text has run, and again when it ends.
        until(name, || !scene.host.is_alive(&file) || stands("memoryBytes").as_u64() > Some(0));
        std::thread::sleep(CALLED);
        if let Ok(reply) = scene.host.ask(&file, get()) {
            assert!(reply.status < 500, "{name}: {:?}", String::from_utf8_lossy(&reply.body));
        }
        let (error, exceptions) = (stands("error"), stands("exceptions"));
        assert!(error.is_null() && exceptions == 0, "{name}: {error}\n{example}");
    }
}

/// The text of a script that answers what an entry asks.
fn text(known: &Known) -> String {
    let Known { first, asks, .. } = known;
    format!("{first}\nsetHttpHandler(function(req) {{ return {{is: {asks}}}; }});\n")
}

#[test]
fn every_function_answers_what_is_known() {
    let known: Vec<Known> = known::all();
    let named = names(known.iter().map(|known| known.name));
    assert_eq!(named.len(), known.len(), "an entry for each function");
    assert_eq!(named, names(catalogue::all().map(|function| function.name)));
    let scene = Scene::start(known::configure);
    let scripts: Vec<(String, String)> =
        known.iter().map(|known| (format!("{}.js", known.name), text(known))).collect();
    for (known, (_, text)) in known.iter().zip(&scripts) {
        assert!(text.contains(&format!("{}(", known.name)), "{}: nothing calls it: {text}", known.name);
    }
    scene.run(&scripts);
    let began = Instant::now();
    let mut open: Vec<&Known> = known.iter().collect();
    loop {
        let mut why = Vec::new();
        open.retain(|known| match says(&scene, known) {
            Ok(()) => false,
            Err(said) => {
                why.push(format!("{}: {said}", known.name));
                true
            }
        });
        if open.is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "no input makes these answer what is known:\n{}", why.join("\n"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether an entry's script answers what is known.
fn says(scene: &Scene, known: &Known) -> Result<(), String> {
    let script = format!("{}.js", known.name);
    let answer = || {
        let request = Request { path: vec!["a".into()], ..get() };
        scene.request(&script, request).map(|answer| answer["is"].clone())
    };
    let fits = |is: bool, answer: &dyn std::fmt::Display| if is { Ok(()) } else { Err(answer.to_string()) };
    match &known.says {
        Says::Json(wanted) => {
            let (answer, wanted) = (answer()?, known::json(wanted));
            fits(answer == wanted, &format_args!("{answer}, not {wanted}"))
        }
        Says::Is(known) => {
            let (answer, wanted) = (answer()?, known(scene));
            fits(answer == wanted, &format_args!("{answer}, not {wanted}"))
        }
        Says::Near(number, share) => {
            let (answer, number) = (answer()?, number(scene));
            let near = answer.as_f64().is_some_and(|answer| (answer - number).abs() <= share * number.abs());
            fits(near, &format_args!("{answer}, not {number}"))
        }
        Says::Line(wanted, unwanted) => {
            answer()?;
            let lines = known::lines();
            fits(lines.iter().any(|line| line == wanted), &format_args!("no line {wanted:?}"))?;
            fits(!lines.iter().any(|line| line.contains(unwanted)), &format_args!("a line {unwanted:?}"))
        }
        Says::That(check) => check(scene, answer()),
    }
}
