//! The form of hsflowd.conf: `sflow { KEY = VALUE ... MODULE { KEY = VALUE ... } ... }`, names in any case, `#` begins a
//! comment, white space separates (and a semicolon may).

use super::file::{Reading, nearest};
use super::keys::{self, Key, SECTIONS, Takes};

/// Modules of hsflowd that this agent does not have.
const OTHERS: &[&str] = &[
    "containerd",
    "cumulus",
    "dbus",
    "dent",
    "dns-sd",
    "dnssd",
    "dropmon",
    "eapi",
    "json",
    "k8s",
    "kvm",
    "nflog",
    "nvml",
    "opx",
    "os10",
    "ovs",
    "psample",
    "sonic",
    "systemd",
    "tcp",
    "ulog",
    "vpp",
    "xen",
];

/// Settings of `sflow` (first) and of its modules, lower case, that are about how hsflowd finds out what this agent is told
/// by the kernel and the engine, or that hsflowd itself passes over: they are taken, and change nothing.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "checkadaptors",
            "forgetvms",
            "loopback",
            "modules",
            "refreshadaptors",
            "refreshvms",
            "samplingdirection",
        ],
    ),
    ("docker", &["forgetvms", "refreshvms"]),
];

/// Modules within modules that are passed over at most; deeper text is no configuration.
const DEEPEST: usize = 16;

/// Whether the first word is `sflow` and an opening brace follows.
pub(super) fn looks_like(text: &str) -> bool {
    let mut tokens = Tokens::new(text);
    matches!(tokens.next(), Some((_, Token::Word(word))) if word.eq_ignore_ascii_case("sflow"))
        && matches!(tokens.next(), Some((_, Token::Open)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Equals,
    Word(&'a str),
}

impl Token<'_> {
    fn shown(self) -> String {
        match self {
            Self::Open => "\"{\"".to_owned(),
            Self::Close => "\"}\"".to_owned(),
            Self::Equals => "\"=\"".to_owned(),
            Self::Word(word) => format!("{word:?}"),
        }
    }
}

/// Tokens with the byte at which each begins.
#[derive(Clone, Debug)]
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == ';').len();
            self.at += blank;
            match self.rest().strip_prefix('#') {
                Some(comment) => self.at += 1 + comment.find('\n').unwrap_or(comment.len()),
                None => return,
            }
        }
    }

    fn peek(&self) -> Option<(usize, Token<'a>)> {
        self.clone().next()
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip();
        let (at, rest) = (self.at, self.rest());
        let token = match rest.chars().next()? {
            '{' => Token::Open,
            '}' => Token::Close,
            '=' => Token::Equals,
            quote @ ('"' | '\'') => {
                // A quoted word ends with its line at the latest.
                let inside = rest.get(1..)?;
                let end = inside.find(['\n', quote]).unwrap_or(inside.len());
                let closed = inside.get(end..).is_some_and(|tail| tail.starts_with(quote));
                self.at += 1 + end + usize::from(closed);
                return Some((at, Token::Word(inside.get(..end)?)));
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | '=' | ';' | '#');
                let end = rest.find(ends).unwrap_or(rest.len());
                self.at += end;
                return Some((at, Token::Word(rest.get(..end)?)));
            }
        };
        self.at += 1;
        Some((at, token))
    }
}

/// Reads the text into the settings.
pub(super) fn read(text: &str, ignore_unknown: bool, reading: &mut Reading) {
    let mut tokens = Tokens::new(text);
    match tokens.next() {
        Some((_, Token::Word(word))) if word.eq_ignore_ascii_case("sflow") => {}
        found => {
            let (at, what) =
                found.map_or((text.len(), "the end".to_owned()), |(at, token)| (at, token.shown()));
            reading.problem(at, format!("\"sflow {{\" is expected here, not {what}"));
            return;
        }
    }
    match tokens.next() {
        Some((_, Token::Open)) => {}
        found => {
            let at = found.map_or(text.len(), |(at, _)| at);
            reading.problem(at, "an opening brace is expected after \"sflow\"");
            return;
        }
    }
    if block("", text, &mut tokens, ignore_unknown, reading)
        && let Some((at, token)) = tokens.next()
    {
        let what = token.shown();
        reading
            .problem(at, format!("nothing may follow the closing brace of \"sflow\", but there is {what}"));
    }
}

/// Reads what stands in `sflow` (`module` is empty) or in a module, up to its closing brace; whether that was there.
fn block(
    module: &str,
    text: &str,
    tokens: &mut Tokens<'_>,
    ignore_unknown: bool,
    reading: &mut Reading,
) -> bool {
    loop {
        let Some((at, token)) = tokens.next() else {
            let inside = if module.is_empty() { "sflow" } else { module };
            reading.problem(
                text.len(),
                format!("the file ends within \"{inside} {{\": a closing brace is missing"),
            );
            return false;
        };
        let name = match token {
            Token::Close => return true,
            Token::Word(name) => name,
            other => {
                reading.problem(at, format!("a name is expected here, not {}", other.shown()));
                // One message for one mistake: what hangs on the missing name is passed over whole.
                match (other, tokens.peek()) {
                    (Token::Open, _) if !pass_over(tokens) => return false,
                    (Token::Equals, Some((_, Token::Word(_)))) => drop(tokens.next()),
                    _ => {}
                }
                continue;
            }
        };
        let lower = name.to_ascii_lowercase();
        match tokens.peek() {
            Some((_, Token::Equals)) => {
                tokens.next();
                assignment(module, (at, name, &lower), tokens, ignore_unknown, reading);
            }
            Some((_, Token::Open)) => {
                tokens.next();
                if !inner(module, (at, name, &lower), text, tokens, ignore_unknown, reading) {
                    return false;
                }
            }
            Some((_, Token::Word(value))) if keys::by_hsflowd(module, &lower).is_some() => {
                tokens.next();
                reading.problem(at, format!("\"=\" is missing between {name:?} and {value:?}"));
            }
            _ => reading.problem(at, format!("{name:?} is followed by neither \"= VALUE\" nor \"{{\"")),
        }
    }
}

/// `KEY =` was read: its value.
fn assignment(
    module: &str,
    (at, name, lower): (usize, &str, &str),
    tokens: &mut Tokens<'_>,
    ignore_unknown: bool,
    reading: &mut Reading,
) {
    let Some((value_at, Token::Word(value))) = tokens.peek() else {
        let at = tokens.peek().map_or(at, |(at, _)| at);
        reading.problem(at, format!("{name}: a value is missing after \"=\""));
        return;
    };
    tokens.next();
    if let Some(key) = keys::by_hsflowd(module, lower) {
        let set = apply(key, value, reading);
        reading.check(value_at, set.map_err(|why| format!("{name}: {why}")));
        return;
    }
    match (module, lower.strip_prefix("sampling.")) {
        ("", Some(speed)) if speed.starts_with(|c: char| c.is_ascii_digit()) => {
            let speed = name.get("sampling.".len()..).unwrap_or(speed);
            let set = keys::sampling_by_speed(&mut reading.settings, speed, keys::number(value));
            reading.check(value_at, set.map_err(|why| format!("{name}: {why}")));
        }
        ("", _) if matches!(lower, "dnssd" | "dns-sd") && is_off(value) => {}
        (_, _) if WITHOUT_EFFECT.iter().any(|(of, names)| *of == module && names.contains(&lower)) => {}
        ("pcap", _) if lower == "dev.pattern" => reading.problem(
            at,
            "dev.pattern: regular expressions are not understood; write dev = PATTERN, where * stands for any characters \
             and ? for one",
        ),
        ("docker", _) if lower == "marktraffic" && !is_off(value) => {}
        ("docker", _) if lower == "marktraffic" && ignore_unknown => {
            reading.warning(value_at, "markTraffic: samples of containers' traffic always say so");
        }
        ("docker", _) if lower == "marktraffic" => {
            reading.problem(value_at, "markTraffic: samples of containers' traffic always say so; leave it out");
        }
        ("collector", _) if lower == "namespace" => reading.problem(
            at,
            "namespace: this agent sends from the network namespace that it runs in; start it there, or leave it out",
        ),
        _ => {
            let known = keys::KEYS.iter().filter(|key| keys::module_of(key) == module).map(|key| key.hsflowd);
            let inside = if module.is_empty() { "sflow" } else { module };
            let what = format!("{name:?} is no setting of \"{inside}\" that this agent has");
            if ignore_unknown {
                reading.warning(at, format!("{what}: passed over"));
            } else {
                let near = nearest(lower, known);
                reading.problem(at, format!("{what}{near} (--ignore-unknown-modules goes on without it)"));
            }
        }
    }
}

/// `NAME {` was read: a module; whether its closing brace was there.
fn inner(
    module: &str,
    (at, name, lower): (usize, &str, &str),
    text: &str,
    tokens: &mut Tokens<'_>,
    ignore_unknown: bool,
    reading: &mut Reading,
) -> bool {
    let known = |name: &str| SECTIONS.iter().any(|(section, _)| *section == name && name != "agent");
    if module.is_empty() && known(lower) {
        if let Err(why) = keys::begin(&mut reading.settings, lower) {
            reading.problem(at, why);
            return pass_over(tokens);
        }
        let problems = reading.problems();
        let closed = block(lower, text, tokens, ignore_unknown, reading);
        if reading.problems() == problems {
            let ended = keys::end(&reading.settings, lower);
            reading.check(at, ended);
        }
        return closed;
    }
    let what = if OTHERS.contains(&lower) {
        format!("this agent has no module {name:?}")
    } else {
        let sections = SECTIONS.iter().map(|(section, _)| *section).filter(|section| *section != "agent");
        format!("there is no module {name:?}{}", nearest(lower, sections))
    };
    if ignore_unknown {
        reading.warning(at, format!("{what}; it is passed over"));
    } else {
        reading.problem(at, format!("{what}; remove it, or start with --ignore-unknown-modules"));
    }
    let closed = pass_over(tokens);
    if !closed {
        reading
            .problem(text.len(), format!("the file ends within \"{name} {{\": a closing brace is missing"));
    }
    closed
}

/// Passes over the rest of a block, whose opening brace was read; whether its closing brace was there.
fn pass_over(tokens: &mut Tokens<'_>) -> bool {
    let mut depth = 1;
    for (_, token) in tokens {
        match token {
            Token::Open if depth < DEEPEST => depth += 1,
            Token::Close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return true;
        }
    }
    false
}

fn is_off(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "off" | "no" | "false" | "0")
}

fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "on" | "yes" | "true" | "1")
}

fn apply(key: &Key, value: &str, reading: &mut Reading) -> Result<(), String> {
    match &key.takes {
        Takes::Number { least, most, set } => {
            let number = keys::number(value).filter(|number| (least..=most).contains(&number));
            let number =
                number.ok_or_else(|| format!("a number from {least} to {most} is needed, not {value:?}"))?;
            set(&mut reading.settings, number);
        }
        Takes::Switch(set) if is_on(value) || is_off(value) => set(&mut reading.settings, is_on(value)),
        Takes::Switch(_) => return Err(format!("on or off is needed, not {value:?}")),
        Takes::Text(set) | Takes::Texts(set) => set(&mut reading.settings, value)?,
    }
    Ok(())
}
