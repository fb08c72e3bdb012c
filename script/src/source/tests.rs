//! Rewritten texts are evaluated in QuickJS, texts without an extension come out as they went in, and no text makes it panic.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Instant;

use proptest::prelude::*;
use rquickjs::context::EvalOptions;
use rquickjs::{CatchResultExt, Context, Runtime};

use super::*;

fn rewritten(text: &str) -> String {
    Source::read(text).unwrap_or_else(|refused| panic!("{refused}: {text}")).text.into_owned()
}

/// What a script gives, as JSON, in QuickJS as scripts have it: not strict.
fn evaluate(text: &str) -> Result<String, String> {
    let context = Context::full(&Runtime::new().unwrap()).unwrap();
    context.with(|ctx| {
        let mut options = EvalOptions::default();
        options.strict = false;
        let value: rquickjs::Value<'_> =
            ctx.eval_with_options(text, options).catch(&ctx).map_err(|error| error.to_string())?;
        let json = ctx.json_stringify(value).catch(&ctx).map_err(|error| error.to_string())?;
        Ok(json.map_or_else(|| "undefined".to_owned(), |json| json.to_string().unwrap()))
    })
}

/// A script with extensions, and what it gives.
#[track_caller]
fn gives(text: &str, json: &str) {
    let ready = rewritten(text);
    assert_ne!(ready, text, "no extension found");
    assert_eq!(ready.lines().count(), text.lines().count());
    assert_eq!(evaluate(&ready).as_deref(), Ok(json), "{text}\nbecame\n{ready}");
}

/// A script without an extension, which QuickJS takes as it is.
#[track_caller]
fn stays(text: &str) {
    assert_eq!(rewritten(text), text);
    assert!(walk::is_followed(text), "{text}");
    let error = evaluate(text).err().filter(|error| error.contains("SyntaxError"));
    assert_eq!(error, None, "the test's own text is wrong: {text}");
}

#[test]
fn for_each_walks_over_values() {
    gives("var s = []; for each (var x in {a: 1, b: 2}) { s.push(x); } s", "[1,2]");
    gives("var s = 0; for each (let x in [3, 4]) s += x; s", "7");
    gives("var s = ''; for each (const c in 'abc') s = c + s; s", "\"cba\"");
    gives("var s = []; for each (x in [1]) s.push(x); [s, x]", "[[1],1]");
    gives("var o = {}; for each (o.last in {a: 5, b: 6}); o", "{\"last\":6}");
    gives("var s = 1; for each (var x in null) s = 2; for each (var x in undefined) s = 3; s", "1");
    gives("var s = []; for each (var [k, v] in [['a', 1], ['b', 2]]) s.push(v + k); s", "[\"1a\",\"2b\"]");
    gives("var s = []; for each (let {n} in [{n: 1}, {n: 2}]) s.push(n); s", "[1,2]");
    gives("var s = []; for each (var x in 1, [2]) s.push(x); s", "[2]");
}

#[test]
fn for_each_nests_and_takes_any_spelling() {
    gives("var s = []; for each (var r in [[1, 2], [3]]) for each (var c in r) s.push(c); s", "[1,2,3]");
    gives(
        "var s = [];\nfor\n  each /* of them */ (var x // one\n in\n [7, 8] // all\n) {\n s.push(x)\n}\ns",
        "[7,8]",
    );
    gives("var s = []; for each(var x in[1])s.push(x);s", "[1]");
    gives(
        "var s = []; for each (var x in [1, 2, 3]) { if (x == 1) continue; if (x == 3) break; s.push(x); } s",
        "[2]",
    );
    gives(
        "(function () { for each (var x in this.list) if (x in this.list) return x; }).call({list: [9, 1]})",
        "1",
    );
    gives("var s = []; for each (var x in (0 in [1]) ? [4] : []) s.push(x); s", "[4]");
}

#[test]
fn for_each_reads_inherited_properties_when_their_turn_comes() {
    gives("var o = Object.create({z: 3}); o.a = 1; var s = []; for each (var x in o) s.push(x); s", "[1,3]");
    gives("var o = {a: 1, b: 2}; var s = []; for each (var x in o) { s.push(x); o.b = 5; } s", "[1,5]");
}

#[test]
fn closures_get_their_braces_where_the_expression_ends() {
    gives("[3, 1, 2].sort(function (a, b) a - b)", "[1,2,3]");
    gives("[1, 2].map(function (x) x % 2 === 0 ? 1 : -1)", "[-1,1]");
    gives("function twice(x) x * 2\ntwice(4)", "8");
    gives("var f = function (x) x + 1; f(1)", "2");
    gives("var f = function (x) x + 1, g = function () 5; [f(1), g()]", "[2,5]");
    gives("var o = {a: function (x) x, b: function named(y) -y}; [o.a(1), o.b(2)]", "[1,-2]");
    gives("var f = function (x) x\nvar g = 3\nf(g)", "3");
    gives("var add = function (a) function (b) a + b; add(1)(2)", "3");
    gives("(function (x) x * x)(5)", "25");
    gives("var y = true ? function (x) 1 : function (x) 2; y()", "1");
    gives("var y = true ? function (x) x ? 1 : 2 : 0; y(0)", "2");
    gives("switch (1) { case 1: var f = function () 'a'; break; default: } f()", "\"a\"");
    gives("function f() [1, 2]\nf()", "[1,2]");
    gives("function f() ({a: 1}).a\nf()", "1");
    gives("function f() /[/'\"]/.test('/')\nf()", "true");
    gives("function f(x) `a${x}b${`${x}`}c`\nf(1)", "\"a1b1c\"");
    gives("var f = function () !0; f()", "true");
    gives("[1, 2, 3].filter(function (x) x > 1).map(function (x) x * x).reduce(function (a, b) a + b)", "13");
}

#[test]
fn closures_go_on_over_lines_as_expressions_do() {
    gives("var f = function (x)\n  x +\n  1\nf(1)", "2");
    gives("var f = function (x) x\n  .toFixed(1)\n  .length\nf(1)", "3");
    gives("var f = function (x) // why\n  x // what\nf(6)", "6");
    gives("var n = 1; var f = function (x) x\n++n\nf(n)", "2");
    gives("var f = function (x) x instanceof Array\nf([])", "true");
    gives("var f = function (k, o) k in o\nf('a', {a: 1})", "true");
    gives("var s = []; var f = function (x) s.push(x)\nfor each (var x in [1, 2]) f(x)\ns", "[1,2]");
    gives("var f = function (x) x.map(y => { return y + 1 })\nf([1])", "[2]");
    gives("var f = function (x) y => { return x + y }\nvar g = 2\nf(1)(g)", "3");
    gives("var f = function (x) function (y) { return x * y }\nf(2)(3)", "6");
    gives("var a; var f = function (x) a = x\nf(4); a", "4");
    gives("if (true) var f = function () 1; else var f = function () 2\nf()", "1");
}

#[test]
fn closures_are_found_in_templates_defaults_and_literals() {
    gives("`${[1, 2].map(function (x) x * 2)}`", "\"2,4\"");
    gives("function f(g = function (x) x + 1) { return g(1) }\nf()", "2");
    gives("var {g = function () 3} = {}; g()", "3");
    gives(
        "var o = {get one() 1, two(x) x * 2, ['th' + 'ree'](x) x}; [o.one, o.two(2), o.three(3)]",
        "[1,4,3]",
    );
    gives(
        "class A { m() { return [1].map(function (x) x + 1) } f = function () 7\n n() { return this.f() } }\nnew A().m()[0] + new A().n()",
        "9",
    );
    gives("var f = (a, b = function () a) => b(); f(8)", "8");
    gives("var f = function () arguments.length; f(1, 2)", "2");
    gives("var o = {v: 5, m: function () this.v}; o.m()", "5");
    gives(
        "function* g() { yield function (x) x; yield /'/.test(\"'\") }\nvar i = g(); [i.next().value(1), i.next().value]",
        "[1,true]",
    );
}

#[test]
fn ordinary_scripts_stay_as_they_are() {
    for text in ORDINARY {
        stays(text);
    }
}

/// Texts that a careless reader takes for one of the extensions, or loses its way in.
const ORDINARY: &[&str] = &[
    "",
    "// for each (x in y) function (x) x",
    "/* for each (x in y) */ var s = 'for each (x in y)' + \"function (x) x\" + `for each (x in ${'}'}) function (x) x`;",
    "var each = 1; var o = {each: 1, for: 2, function: 3}; o.function; o.for; o.each;",
    "for (var each in {a: 1}) each; for (var each of [1]) each;",
    "function f(x)\n{\n return x\n}\nf(1)",
    "var f = function ( /* none */ ) // why\n{ return /[/\\]]{2}'/g.test('a') ? 1 : 2 };",
    "var a = 4, g = 2, i = 2; var b = a / g / i; var c = (a) / 2 / i; var d = [a][0] / 2; a++ / 2; a-- / 1;",
    "if (true) /'/.test('x'); while (false) /\"/.test('x'); for (; false;) /`/.test('x');",
    "{ /'/.test('x') } function f() {} /'/.test('x'); var x = function () {} / 1; var y = {} / 1;",
    "var f = x => {}\n/'/.test('x')",
    "switch (1) { case 1: { /'/.test('x') } case /'/: break; default: /'/.test('x') }",
    "a: for (;;) { break a }\n/'/.test('x')",
    "var o = {get x() { return 1 }, set x(v) {}, async y() {}, *z() {}, async *w() {}, get: 1, set: 2, async: 3, static: 4};",
    "var o = {get() { return 1 }, set(v) {}, async() {}, if(x) {}, 'q'(x) {}, 1(x) {}, ['c' + 1](x) {}, get [1 + 1]() { return 2 }};",
    "class A { constructor(x) { this.x = x } static s() {} get g() { return /'/ } set g(v) {} *i() { yield 1 } async a() {} #p = 1; \
     static #q; static { /'/.test('x') } 'lit'() {} [1 + 1]() {} f = (x) => x\n h = 1 / 2\n static async *m(x) {} get\n in = {} }",
    "class B extends (class {}) { constructor() { super() } }\nvar C = class D extends B {}, E = class { a(x) { return x } };",
    "var f = async () => { await 1; for await (const x of []) { x } }; async function g(x) { return await x } var h = async x => x; async function* i() {}",
    "var async = 1, of = 2, get = 3, let_ = 4, yield_ = 5; async\nfunction f() {}\nvar g = async / 2 / of",
    "var {a, b: {c = 1} = {}, ...d} = {a: 1}; var [e = 2, , ...f] = []; function g({a, b = 2}, [c] = [3], ...d) { return a }",
    "let x = 1\nlet {y} = {y: 2}\nlet [z] = [3]\nvar s = `a${x}b${{y}.y}c${`${[z].map(q => `${q}`)}`}d`",
    "var t = x => ({a: x}), u = (x) => { return {a: x} }, v = () => {}; var w = true ? x => x : (x) => { return x };",
    "function f() { return\n{ g(1)\n h(2) } }\nfunction g(x) {}\nfunction h(x) {}",
    "do /'/.test('x'); while (false) /'/.test('x')",
    "var r = [/[/]/, /\\//, /a/gi, /=/]; var x = r[0]\n/ 2 / 1",
    "var q = {a: {b: () => 1}}; q?.a?.['b']?.(); var z = q ? .5 : 1; var n = null ?? 1; n ??= 2; n ||= 3; n &&= 4; 2 ** 3; n **= 2; n >>>= 1",
    "var n = 0x1F + 1e+3 + 1.5e-3 + .5 + 5. + 1_000 + 0b11 + 0o17 + 010 + Number(10n); 1..toString(); 1.5.toFixed()",
    "<!-- an old page\nvar a = 1\n--> its end\nvar b = a",
    "var \\u0066oo = 1, été = 2, \\u{62}ar = 3, $ = 4, _ = 5; \\u0066oo",
    "try { throw new Error(1) } catch { } finally { } try { } catch ({message}) { } try { } catch (e) { /'/.test('x') }",
    "var x = 1\n++x\n--x\nvar y = x++\n+x\n!x\n~x\n;(function () {})()\n;[1].map(x => x)",
    "new (class { f() {} })().f(); new Date().getTime(); (function () { return new.target })(); typeof /'/; void /'/",
    "if (1) function f() {} else { } label: { break label } ;;; { } ({}) ; [] ",
    "for (var i = 0, n = 3; i < n; i++) { } for (let [k, v] of Object.entries({})) { } for (const x in {}) ; for (;;) break",
    "var o = {a: 1 ? 2 : 3, b: x => x ? {c: 1} : {d: 2}, e: function () { return 1 } , f};\nvar f;",
    "(async) / 2; var async; var await = 2; var y = await / 2 / 1; var yield = 3; var z = yield / 2 / 1",
    "if (true)\n  var f = (a) => a\nelse\n  var g = 1",
];

#[test]
fn what_is_thrown_is_passed_through_ours() {
    let noted = "var all = []; function __finderscope_thrown(x) { all.push(x); return x }\n";
    for (text, json) in [
        ("try { throw'a' } catch (e) { all.push(e) } all", r#"["a","a"]"#),
        ("try { throw 1, 2; } catch (e) { all.push(e) } all", "[2,2]"),
        (
            "for (let x of [1, 2]) try { if (x > 1) throw {x}\nelse throw [x]\n} catch (e) { } all",
            r#"[[1],{"x":2}]"#,
        ),
        ("switch (1) { case 1: try { throw 1 ? 2 : 3 } catch { } } all", "[2]"),
        ("try { throw function (x) x * 2 } catch (e) { all = e(4) } all", "8"),
        ("try { throw /a}/.source\n+ `${'b'}` } catch { } all", r#"["a}b"]"#),
        (
            "var f = function () { throw (1, 2) }, g = () => { throw -1 }\ntry { f() } catch { } try { g() } catch { } all",
            "[2,-1]",
        ),
        ("try { try { throw 1 } catch (e) { throw e } } catch { } all", "[1,1]"),
    ] {
        gives(&format!("{noted}{text}"), json);
    }
    stays("function f() { throw new Error('a' + 1) }\n1");
    assert!(evaluate(&rewritten("throw\n1")).is_err(), "a line may not end there");
}

#[test]
fn what_is_refused_is_named_by_line_and_column() {
    let refused =
        |text: &str| Source::read(text).map(|source| source.text.into_owned()).unwrap_err().to_string();
    assert!(
        refused("var a = 1;\n  for each (var x of y) {}")
            .starts_with("line 2, column 7: for each without in")
    );
    assert!(refused("for each (;;) {}").starts_with("line 1, column 5: for each without in"));
    assert!(
        refused("\nvar é = [x * x for each (x in y)]").starts_with("line 2, column 16: array comprehensions")
    );
    assert!(refused("(x for (x in y))").starts_with("line 1, column 4: array comprehensions"));
    assert!(
        refused("try { f() } catch (e if e instanceof X) { }")
            .starts_with("line 1, column 22: a condition in catch")
    );
}

#[test]
fn what_is_no_javascript_is_left_to_quickjs() {
    for text in [
        "function (x)",
        "function f(x) return x",
        "var s = 'open\nvar t = function (x) x",
        "a = )",
        "/* open",
        "`open ${",
        "}",
        "#",
        "\\",
        "for each",
    ] {
        assert_eq!(rewritten(text), text);
        assert!(evaluate(text).unwrap_err().contains("Error"), "{text}");
    }
    // up to the error, so that QuickJS tells of the error and not of the extension before it
    let error =
        evaluate(&rewritten("for each (var x in [1]) { }\nvar f = function (x) x;\nvar = 5;")).unwrap_err();
    assert!(error.contains(":3:"), "{error}");
}

#[test]
fn errors_are_at_the_lines_and_columns_of_the_author() {
    let text = "var f = function (x) x;\nvar g = function (x) x + 1; undefined_thing();\n";
    let source = Source::read(text).unwrap();
    let error = evaluate(&source.text).unwrap_err();
    let place = error.split("eval_script:").nth(1).unwrap_or_else(|| panic!("{error}"));
    let numbers: Vec<usize> =
        place.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert_eq!(numbers[0], 2, "{error}");
    let at = source.columns.original(numbers[0], numbers[1]);
    let plain = evaluate(&text.replace("function (x) x", "(xxxxxxx) => x")).unwrap_err();
    assert!(plain.contains(&format!("eval_script:2:{at}")), "{plain} against {at}");
}

#[test]
fn a_mark_and_an_interpreter_line_are_accepted() {
    assert_eq!(rewritten("\u{feff}var a = 1"), "var a = 1");
    assert_eq!(rewritten("\u{feff}#!/usr/bin/env finderscope\n1 + 1"), "///usr/bin/env finderscope\n1 + 1");
    let source =
        Source::read("#! it's\n// author: me\nvar s = 0; for each (var x in [1, 2]) s += x; s").unwrap();
    assert_eq!(evaluate(&source.text).as_deref(), Ok("3"));
}

/// Ten times the text may take thirty times as long at most, on a machine that does other things too.
#[test]
fn time_is_linear_in_the_text() {
    let texts = [
        |n: usize| "f(function (x) ".repeat(n),
        |n: usize| "function (x) ".repeat(n),
        |n: usize| "[".repeat(n),
        |n: usize| "`${".repeat(n),
        |n: usize| "\\u{".repeat(n),
        |n: usize| "for each (var x in [1]) {".repeat(n),
        |n: usize| "a ? b : c; x = /[/]/ / 2; ".repeat(n),
        |n: usize| "/* */ // x\n".repeat(n),
    ];
    for text in texts {
        let time = |n: usize| {
            let text = text(n);
            (0..3)
                .map(|_| {
                    let start = Instant::now();
                    let _ = Source::read(&text);
                    start.elapsed()
                })
                .min()
                .unwrap()
        };
        let (short, long) = (time(20_000), time(200_000));
        assert!(
            long < short * 30 + std::time::Duration::from_millis(20),
            "{:?}: {short:?}, {long:?}",
            text(1)
        );
    }
}

/// Pieces of which texts are made that look like JavaScript often enough.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(
        "for |each |(|var |let |x |in |of |y|)|{|}|function |[|]|;|,|:|?|?.|=>|\n|'|\"|`|${|/|\\|*|//|/*|*/|<!--|-->|class |extends \
         |get |async |await |yield |static |#p|return |if |else |catch |1|.|..|...|=|+|++|!|\u{2028}|é|\u{feff}|\\u{|case |do |while "
            .split('|')
            .collect::<Vec<_>>(),
    );
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// An expression with closures, and the same with arrow functions in their place.
fn closures() -> impl Strategy<Value = (String, String)> {
    let leaf = prop::sample::select(vec![
        "x",
        "1",
        "'}'",
        "`,${2};`",
        "/[)]/.source",
        "[1, 2].length",
        "({a: 1}).a",
        "x /2/ 3",
    ])
    .prop_map(|text| (text.to_owned(), text.to_owned()));
    leaf.prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|(a, b)| (format!("(function (x) {a})(2)"), format!("((x) => ({b}))(2)"))),
            (inner.clone(), inner.clone()).prop_map(|((a, b), (c, d))| (
                format!("[1, x].map(function n(x) {a}).concat([{c}])"),
                format!("[1, x].map((x) => ({b})).concat([{d}])")
            )),
            (inner.clone(), inner.clone()).prop_map(|((a, b), (c, d))| (
                format!("[{{f: function () {a}, g: {c}}}].map(function (o) o.f() + o.g)"),
                format!("[{{f: () => ({b}), g: {d}}}].map((o) => o.f() + o.g)")
            )),
            (inner.clone(), inner.clone()).prop_map(|((a, b), (c, d))| (
                format!("(x ? function (y) {a} : function (y)\n {c}\n)(3)"),
                format!("(x ? (y) => ({b}) : (y) => (\n {d})\n)(3)")
            )),
            inner.clone().prop_map(|(a, b)| (
                format!("`<${{[1].map(function (x) {a} /* }} */)}}>`"),
                format!("`<${{[1].map((x) => ({b}))}}>`")
            )),
            (inner.clone(), inner)
                .prop_map(|((a, b), (c, d))| (format!("({a} + {c})"), format!("({b} + {d})"))),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_it_panic_or_lose_a_line(text in any::<String>().boxed().prop_union(pieces().boxed())) {
        if let Ok(source) = Source::read(&text) {
            prop_assert_eq!(source.text.matches('\n').count(), text.matches('\n').count());
            let mark = if text.starts_with('\u{feff}') { 3 } else { 0 };
            prop_assert_eq!(source.text.len() < text.len() - mark, false);
            for line in 1..4 {
                for column in 0..20 {
                    prop_assert!(source.columns.original(line, column) >= 1);
                }
            }
        }
    }

    #[test]
    fn rewriting_is_done_once(text in pieces()) {
        // rewritten text that QuickJS takes has no extension any more
        let text = format!("function never() {{ {text}\n }} 1");
        if let Ok(source) = Source::read(&text)
            && evaluate(&source.text).as_deref() == Ok("1")
        {
            prop_assert_eq!(rewritten(&source.text), source.text);
        }
    }

    #[test]
    fn what_quickjs_takes_is_not_changed(text in pieces()) {
        // inside of a function that is not called: parsed only
        let text = format!("function never() {{ {text}\n }} 1");
        if evaluate(&text).as_deref() == Ok("1") {
            prop_assert!(walk::is_followed(&text));
            prop_assert_eq!(rewritten(&text), text);
        }
    }

    #[test]
    fn closures_mean_what_arrow_functions_do((closures, arrows) in closures()) {
        let text = format!("var x = 4\nvar r = {closures}\nr");
        prop_assert_eq!(evaluate(&rewritten(&text)), evaluate(&format!("var x = 4\nvar r = {arrows}\nr")), "{}", rewritten(&text));
    }
}
