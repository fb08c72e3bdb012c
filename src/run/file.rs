//! The configuration file: TOML, every key optional. All that is wrong is found in one reading, each with its line,
//! its column and, for a name that is not known, the nearest one that is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use actions::config::{Config as ActionsConfig, SECTIONS as ACTIONS};
use actions::feeds::Feeds;
use serde_json::Value as Json;
use tables::flow::SpecError;
use tables::flow::reference::References;
use tables::program::TOPOLOGY;
use tables::{ChangeError, Program};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::agents;
use super::definitions::{self, Definitions, Id, KINDS, Refused};
use super::scripts;
use super::settings::{Given, Raw, Settings, settings};

/// Largest file that is read, bytes: lists of prefixes are long.
const LARGEST: u64 = 64 << 20;

/// The key of `[agents]` that is no setting: a list of tables.
const LISTED: &str = "listed";

/// Problems that are told one by one.
const MOST_PROBLEMS: usize = 100;

/// A file that was read and is right.
#[derive(Debug)]
pub struct Config {
    /// The settings: of the command line, else of the file, else the defaults.
    pub settings: Settings,
    /// What it defines, compiled, with the built-in definitions beneath it.
    pub program: Program,
    /// What is to be done, by whom and where.
    pub actions: ActionsConfig,
}

/// What holds where neither file nor command line say anything.
#[derive(Debug)]
pub struct Beneath {
    /// Settings.
    pub settings: Settings,
    /// Definitions.
    pub definitions: Definitions,
    /// Actions.
    pub actions: ActionsConfig,
}

impl Default for Beneath {
    fn default() -> Self {
        Self {
            settings: Settings::default(),
            definitions: definitions::built_in(),
            actions: ActionsConfig::default(),
        }
    }
}

/// All that is wrong with a file.
#[derive(Debug)]
pub struct Wrong {
    /// Lines of the form `FILE:LINE:COLUMN: what is wrong`.
    pub lines: Vec<String>,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for Wrong {}

/// Reads a file; without one, `beneath`. What the command line says wins.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read(path: Option<&Path>, given: &Given, beneath: Beneath) -> Result<Config, Wrong> {
    let Some(path) = path else { return parse(Path::new(""), "", given, beneath) };
    let failed = |why: String| Wrong { lines: vec![format!("{}: {why}", path.display())] };
    let mut text = String::new();
    // A limit on what is read, because a pipe has no size.
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text))
        .map_err(|error| failed(format!("cannot be read: {error}")))?;
    if text.len() as u64 > LARGEST {
        return Err(failed(format!("is longer than the {LARGEST} bytes that a configuration may have")));
    }
    parse(path, &text, given, beneath)
}

fn parse(path: &Path, text: &str, given: &Given, beneath: Beneath) -> Result<Config, Wrong> {
    let mut reading = Reading {
        settings: beneath.settings,
        actions: beneath.actions,
        defined: Definitions::new(),
        places: BTreeMap::new(),
        settings_at: BTreeMap::new(),
        problems: Vec::new(),
        folder: path.parent().map(Path::to_owned).unwrap_or_default(),
        listed_scripts: Vec::new(),
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    reading.problems.extend(errors.iter().map(|error| Problem {
        at: error.span().unwrap_or(0..0).start,
        what: error.message().replace('\n', ", "),
    }));
    if reading.problems.is_empty() {
        reading.file(table.get_ref());
        reading.check_actions(&table);
    }
    reading.settings.scripts.config.scripts.append(&mut reading.listed_scripts);
    given.apply(&mut reading.settings).map_err(|why| Wrong { lines: vec![why] })?;
    if let Some((setting, why)) = reading.settings.contradiction() {
        let at = reading.settings_at.get(setting).cloned().unwrap_or(0..0);
        match path.as_os_str().is_empty() {
            true => return Err(Wrong { lines: vec![why] }),
            false => reading.problem(&at, format!("{setting}: {why}")),
        }
    }
    let mut all = if reading.settings.defaults { beneath.definitions } else { Definitions::new() };
    all.extend(std::mem::take(&mut reading.defined));
    let references = reading.settings.references.read().unwrap_or_else(|wrong| {
        for (setting, why) in wrong {
            let at = reading.settings_at.get(setting).cloned().unwrap_or(0..0);
            reading.problem(&at, format!("{setting}: {why}"));
        }
        References::default()
    });
    let lists = Feeds::empty_sets(&reading.actions.feeds);
    let (program, refused) = definitions::compile(&references, lists, &all);
    for refused in refused {
        reading.refused(&refused);
    }
    if reading.problems.is_empty() {
        return Ok(Config { settings: reading.settings, program, actions: reading.actions });
    }
    reading.problems.sort_by_key(|problem| problem.at);
    let mut lines: Vec<String> =
        reading.problems.iter().take(MOST_PROBLEMS).map(|problem| problem.line(path, text)).collect();
    if let Some(more) = reading.problems.len().checked_sub(MOST_PROBLEMS).filter(|more| *more > 0) {
        lines.push(format!("{}: and {more} more", path.display()));
    }
    Err(Wrong { lines })
}

struct Problem {
    /// Where in the text, bytes.
    at: usize,
    what: String,
}

impl Problem {
    fn line(&self, path: &Path, text: &str) -> String {
        let before = text.get(..self.at).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}: {}", path.display(), self.what)
    }
}

/// Where a definition and its attributes stand in the text.
struct Place {
    name: Range<usize>,
    attributes: BTreeMap<String, Range<usize>>,
}

struct Reading {
    settings: Settings,
    actions: ActionsConfig,
    defined: Definitions,
    places: BTreeMap<Id, Place>,
    /// Where the values of settings stand.
    settings_at: BTreeMap<String, Range<usize>>,
    problems: Vec<Problem>,
    folder: PathBuf,
    /// The files of `[[script]]`.
    listed_scripts: Vec<PathBuf>,
}

impl Reading {
    fn problem(&mut self, at: &Range<usize>, what: impl Into<String>) {
        self.problems.push(Problem { at: at.start, what: what.into() });
    }

    fn file(&mut self, table: &DeTable<'_>) {
        let sections = || {
            let of_settings = settings().map(|s| s.section).filter(|s| !s.is_empty() && !s.contains('.'));
            of_settings.chain(KINDS).chain(ACTIONS).chain([scripts::LIST])
        };
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if let Some(kind) = KINDS.iter().position(|kind| *kind == name) {
                self.definitions(kind, value);
            } else if ACTIONS.contains(&name) {
                self.section_of_actions(name, value);
            } else if name == scripts::LIST && value.get_ref().is_array() {
                let scripts::Listed { files, actions, problems } = scripts::read(value, &self.folder);
                self.listed_scripts = files;
                problems.into_iter().for_each(|(at, what)| self.problem(&at, what));
                if let Some(keys) = actions {
                    self.section(scripts::ACTIONS, keys);
                }
            } else if sections().any(|section| section == name) {
                match value.get_ref() {
                    DeValue::Table(keys) if name == scripts::LIST => self.section(scripts::SECTION, keys),
                    DeValue::Table(keys) => self.section(name, keys),
                    other => self.problem(
                        &value.span(),
                        format!("{name} is a table, [{name}], not {}", kind_of(other)),
                    ),
                }
            } else if !self.setting("", name, value) {
                let keys = settings().filter(|s| s.section.is_empty()).map(|s| s.key);
                let nearest = nearest(name, sections().chain(keys));
                self.problem(&key.span(), format!("{name:?} is no section and no key of this file{nearest}"));
            }
        }
    }

    fn section(&mut self, section: &str, keys: &DeTable<'_>) {
        for (key, value) in keys {
            let name = key.get_ref().as_ref();
            if section == "agents" && name == LISTED {
                let (listed, problems) = agents::read(value);
                self.settings.trust.listed = listed;
                problems.into_iter().for_each(|(at, what)| self.problem(&at, what));
            } else if let (DeValue::Table(inner), scripts::SECTION) = (value.get_ref(), section) {
                self.part_of_scripts(name, inner, &key.span());
            } else if !self.setting(section, name, value) {
                let known = settings().filter(|s| s.section == section).map(|s| s.key);
                let nearest = nearest(name, known.chain((section == "agents").then_some(LISTED)));
                self.problem(&key.span(), format!("{name:?} is no key of [{section}]{nearest}"));
            }
        }
    }

    /// A table within what all scripts share.
    fn part_of_scripts(&mut self, name: &str, keys: &DeTable<'_>, at: &Range<usize>) {
        let part = format!("{}.{name}", scripts::SECTION);
        if part == scripts::PROPERTIES {
            match scripts::properties(keys, "") {
                Ok(all) => self.settings.scripts.config.properties.extend(all),
                Err((at, what)) => self.problem(&at, what),
            }
        } else if settings().any(|setting| setting.section == part) {
            self.section(&part, keys);
        } else {
            self.problem(
                at,
                format!(
                    "[{part}] is no table of this file: [{}], [{}]",
                    scripts::ACTIONS,
                    scripts::PROPERTIES
                ),
            );
        }
    }

    fn section_of_actions(&mut self, section: &str, value: &Spanned<DeValue<'_>>) {
        if let Err(wrong) = self.actions.section(section, ValueDeserializer::from(value.clone())) {
            let at = wrong.span().unwrap_or_else(|| value.span());
            self.problem(&at, format!("[{section}] {}", wrong.message().replace('\n', ", ")));
        }
    }

    /// What is wrong with actions though every value is of its kind.
    fn check_actions(&mut self, table: &Spanned<DeTable<'_>>) {
        for problem in self.actions.problems() {
            let at = place(table, &problem.key);
            self.problem(&at, format!("{}: {}", problem.key, problem.why));
        }
        self.actions.resolve(&self.folder);
    }

    /// Whether there is such a setting.
    fn setting(&mut self, section: &str, key: &str, value: &Spanned<DeValue<'_>>) -> bool {
        let Some(setting) = settings().find(|s| s.section == section && s.key == key) else {
            return false;
        };
        self.settings_at.insert(setting.name(), value.span());
        if let Err(why) = setting.apply(&mut self.settings, &raw(value.get_ref()), &self.folder) {
            self.problem(&value.span(), format!("{}: {why}", setting.name()));
        }
        true
    }

    fn definitions(&mut self, kind: usize, value: &Spanned<DeValue<'_>>) {
        let section = KINDS[kind];
        if section == TOPOLOGY {
            return self.definition((kind, String::new()), &value.span(), value);
        }
        let DeValue::Table(named) = value.get_ref() else {
            let found = kind_of(value.get_ref());
            self.problem(&value.span(), format!("{section} are tables, [{section}.NAME], not {found}"));
            return;
        };
        for (name, definition) in named {
            self.definition((kind, name.get_ref().to_string()), &name.span(), definition);
        }
    }

    /// One definition, which is called so at `name`.
    fn definition(&mut self, id: Id, name: &Range<usize>, definition: &Spanned<DeValue<'_>>) {
        let called = definitions::called(&id);
        let DeValue::Table(attributes) = definition.get_ref() else {
            let found = kind_of(definition.get_ref());
            self.problem(&definition.span(), format!("[{called}] is a table, not {found}"));
            return;
        };
        let places = attributes.keys().map(|key| (key.get_ref().to_string(), key.span())).collect();
        self.places.insert(id.clone(), Place { name: name.clone(), attributes: places });
        match json(definition) {
            Ok(json) => drop(self.defined.insert(id, json)),
            Err((at, what)) => self.problem(&at, format!("[{called}] {what}")),
        }
    }

    /// A definition that cannot be made: at the attribute that is wrong, else at its name.
    fn refused(&mut self, refused: &Refused) {
        let at = self.places.get(&refused.id).map_or(0..0, |place| {
            let attribute = match &refused.why {
                ChangeError::Spec(SpecError::Attribute { attribute, .. }) => {
                    // Of a topology the attribute says the whole way: links.uplink.node1.
                    let first = attribute.split('.').next().unwrap_or(attribute);
                    place.attributes.get(attribute).or_else(|| place.attributes.get(first))
                }
                _ => None,
            };
            attribute.unwrap_or(&place.name).clone()
        });
        let known = definitions::attributes(refused.id.0);
        let near = match &refused.why {
            ChangeError::Spec(SpecError::Attribute { attribute, .. })
                if !known.contains(&attribute.as_str()) && !attribute.contains('.') =>
            {
                near(attribute, known.iter().copied())
            }
            _ => None,
        };
        let near = near.map(|name| format!(": did you mean {name:?}?")).unwrap_or_default();
        let called = definitions::called(&refused.id);
        self.problem(&at, format!("[{called}] {}{near}", refused.why));
    }
}

/// Where a key as `autoscale.service.apache.metric[0].low` stands: its value, or what there is of its way. Names may have
/// dots in them.
fn place(table: &Spanned<DeTable<'_>>, key: &str) -> Range<usize> {
    let mut at = table.span();
    let mut inside = Inside::Table(table.get_ref());
    let mut rest = key;
    loop {
        let next = match inside {
            Inside::Table(table) => table
                .iter()
                .filter_map(|(key, value)| Some((rest.strip_prefix(key.get_ref().as_ref())?, value)))
                .filter(|(rest, _)| rest.is_empty() || rest.starts_with(['.', '[']))
                .min_by_key(|(rest, _)| rest.len()),
            Inside::List(list) => rest
                .split_once(']')
                .and_then(|(number, rest)| Some((rest, list.get(number.parse::<usize>().ok()?)?))),
        };
        let Some((left, value)) = next else { return at };
        at = value.span();
        rest = left.strip_prefix(['.', '[']).unwrap_or(left);
        inside = match value.get_ref() {
            DeValue::Table(table) => Inside::Table(table),
            DeValue::Array(list) => Inside::List(list),
            _ => return at,
        };
    }
}

/// What may have further values inside.
enum Inside<'a, 'i> {
    Table(&'a DeTable<'i>),
    List(&'a [Spanned<DeValue<'i>>]),
}

pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(_) => {
            integer(value).map_or(Raw::Other("a number of more than 64 bits"), Raw::Number)
        }
        DeValue::Boolean(on) => Raw::Switch(*on),
        DeValue::Array(list) => Raw::List(list.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        other => Raw::Other(kind_of(other)),
    }
}

/// The value as JSON, or where and why it has none.
fn json(value: &Spanned<DeValue<'_>>) -> Result<Json, (Range<usize>, String)> {
    let wrong = |what: String| (value.span(), what);
    Ok(match value.get_ref() {
        DeValue::String(text) => Json::from(text.as_ref()),
        number @ DeValue::Integer(_) => {
            integer(number).ok_or_else(|| wrong("a number of more than 64 bits".to_owned()))?.into()
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            number.ok_or_else(|| wrong(format!("{} is no number here", float.as_str())))?.into()
        }
        DeValue::Boolean(on) => (*on).into(),
        DeValue::Datetime(date) => date.to_string().into(),
        DeValue::Array(list) => list.iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        DeValue::Table(table) => {
            let mut object = serde_json::Map::new();
            for (key, value) in table {
                object.insert(key.get_ref().to_string(), json(value)?);
            }
            object.into()
        }
    })
}

/// The known name that differs least, by a third of its letters at most.
fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// `: did you mean "x"?` where a known name is near, else the names that are known.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    match near(name, known.iter().copied()) {
        Some(candidate) => format!(": did you mean {candidate:?}?"),
        None => {
            let mut text = String::from("; known are ");
            for (n, candidate) in known.iter().enumerate() {
                // Writing to a text never fails.
                let _ = write!(text, "{}{candidate}", if n > 0 { ", " } else { "" });
            }
            text
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use tables::trust::{Foreign, Listed, Unlisted};

    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        parse(Path::new("/etc/f.toml"), text, &Given::default(), Beneath::default()).unwrap_err().lines
    }

    #[test]
    fn each_problem_has_its_line_its_column_and_the_nearest_name() {
        for (text, said) in [
            (
                "[sflow]\nlisten = [\"127.0.0.1:7000\"]\nlistne = 3\n",
                "f.toml:3:1: \"listne\" is no key of [sflow]: did you mean \"listen\"?",
            ),
            (
                "[sflwo]\n",
                "f.toml:1:2: \"sflwo\" is no section and no key of this file: did you mean \"sflow\"?",
            ),
            (
                "default = true\n",
                "f.toml:1:1: \"default\" is no section and no key of this file: did you mean \"defaults\"?",
            ),
            ("[http]\n  xyzzy = 1\n", "f.toml:2:3: \"xyzzy\" is no key of [http]; known are hosts, listen"),
            (
                "[tables]\nagents = \"many\"\n",
                "f.toml:2:10: tables.agents: a number from 1 to 10000000 is needed",
            ),
            ("[tables]\nagents = true\n", "f.toml:2:10: tables.agents: a number is needed, not true"),
            ("[tables]\nagents = 0\n", "f.toml:2:10: tables.agents: a number from 1"),
            (
                "[http]\nlisten = 8008\n",
                "f.toml:2:10: http.listen: an address with a port as a text is needed, not the number 8008",
            ),
            (
                "[sflow]\nlisten = ['localhost']\n",
                "f.toml:2:10: sflow.listen: \"localhost\" is no address with a port",
            ),
            ("[sflow]\nlisten = []\n", "f.toml:2:10: sflow.listen: is empty"),
            ("sflow = 3\n", "f.toml:1:9: sflow is a table, [sflow], not a number"),
            ("flows = 3\n", "f.toml:1:9: flows are tables, [flows.NAME], not a number"),
            ("[flows]\nf = 'x'\n", "f.toml:2:5: [flows.f] is a table, not a text"),
            ("[flows.f]\nkeys = 'ipsource'\n", "f.toml:1:8: [flows.f] value is missing"),
            ("[flows.f]\nvalue = 'bytes'\nkeys = 'ipsorce'\n", "f.toml:3:1: [flows.f] keys: "),
            (
                "[flows.f]\nvalue = 'bytes'\nkyes = 'ipsource'\n",
                "f.toml:3:1: [flows.f] kyes: is no attribute of a flow: did you mean \"keys\"?",
            ),
            ("[flows.f]\nvalue = 'bytes'\nkeys = 'group:ipsource:sites'\n", "f.toml:3:1: [flows.f] keys: "),
            (
                "[groups.g]\na = ['10.0.0.0/8', '999.1.1.1']\n",
                "f.toml:2:1: [groups.g] a: \"999.1.1.1\" is no prefix",
            ),
            ("[thresholds.t]\nmetric = 'x'\nvalue = nan\n", "f.toml:3:9: [thresholds.t] nan is no number"),
            (
                "[forwarding.a]\naddress = 'host'\n",
                "f.toml:2:1: [forwarding.a] address: must be an IP address",
            ),
            ("topology = 3\n", "f.toml:1:12: [topology] is a table, not a number"),
            (
                "[topology]\nlink = {}\n",
                "f.toml:2:1: [topology] link: is no attribute of a topology: nodes, links: did you mean \"links\"?",
            ),
            (
                "[topology.nodes.a]\nagent = '10.0.0.1'\n[topology.links.l]\nnode1 = 'a'\nport1 = 'swp1'\nnode2 = 'b'\nport2 = 'swp1'\n",
                "f.toml:3:11: [topology] links.l.node2: \"b\" is not among the nodes",
            ),
            (
                "[agents]\nunlistd = 'take'\n",
                "f.toml:2:1: \"unlistd\" is no key of [agents]: did you mean \"unlisted\"?",
            ),
            (
                "[agents]\nxyzzy = 1\n",
                "f.toml:2:1: \"xyzzy\" is no key of [agents]; known are foreign, listed, unlisted",
            ),
            ("[agents]\nforeign = 'take'\n", "f.toml:2:11: agents.foreign: \"take\" is not refuse or flag"),
            (
                "[agents]\nlisted = 1\n",
                "f.toml:2:10: agents.listed are tables, [[agents.listed]], not a number",
            ),
            ("[[agents.listed]]\nsources = '10.0.0.1'\n", "f.toml:1:1: agents.listed: address is missing"),
            (
                "[[agents.listed]]\naddress = '10.0.0.1/8'\n",
                "f.toml:2:11: agents.listed: \"10.0.0.1/8\" is no prefix: it has host bits",
            ),
            (
                "[[agents.listed]]\naddress = '10.0.0.1'\nsources = ['10.0.0.1', 'x']\n",
                "f.toml:3:24: agents.listed: \"x\" is no address and no prefix",
            ),
            (
                "[[agents.listed]]\naddress = '10.0.0.1'\nsource = '10.0.0.1'\n",
                "f.toml:3:1: agents.listed: \"source\" is no key of an agent: did you mean \"sources\"?",
            ),
            (
                "[[agents.listed]]\naddress = 'x'\nsources = []\n",
                "f.toml:3:11: agents.listed: sources are empty",
            ),
            (
                "[[agents.listed]]\naddress = '10.0.0.1'\n[[agents.listed]]\naddress = '10.0.0.1/32'\n",
                "f.toml:3:1: agents.listed: these agents are listed twice",
            ),
            (
                "[[agents.listed]]\naddress = 1\n",
                "f.toml:2:11: agents.listed: address: an address or a prefix as a text",
            ),
            ("a = \n", "f.toml:1:5: "),
            ("[sflow\n", "f.toml:1:7: "),
        ] {
            let lines = wrong(text);
            assert!(lines[0].contains(said), "{text:?}: {lines:?}");
            assert_eq!(lines.len(), 1, "{text:?}: {lines:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_actions_has_its_place_too() {
        let service = "[swarm.main]\nmanagers = ['unix:///run/d.sock']\n[autoscale.service.'a.b']\nmax = 3\n";
        let metric = "metric = [{ metric = 'vir_cpu_utilization', low = 1, high = 2 }]\n";
        let switch = "[[switch]]\nagent = '10.0.0.253'\nurl = 'http://10.0.0.253:8080/acl'\n";
        for (text, said) in [
            (format!("{service}{metric}min = 4\n"), "f.toml:6:7: autoscale.service.a.b.min: "),
            (format!("{service}{}", metric.replace("low = 1", "low = 3")), "f.toml:5:"),
            (format!("{service}{metric}mni = 4\n"), "f.toml:6:1: [autoscale] unknown field `mni`"),
            (format!("{service}{metric}min = 'x'\n"), "f.toml:6:7: [autoscale] invalid type: string \"x\""),
            (format!("{switch}{switch}"), "f.toml:5:9: switch[1].agent: 10.0.0.253 is there twice"),
            (format!("{switch}interfaces = 'sw p'\n"), "f.toml:4:14: switch[0].interfaces: "),
            ("[actions]\nmode = 'maybe'\n".to_owned(), "f.toml:2:8: [actions] unknown variant `maybe`"),
            ("[webhook.w]\nurl = 'x'\n".to_owned(), "f.toml:2:7: webhook.w.url: "),
            ("[autoscal]\n".to_owned(), "did you mean \"autoscale\"?"),
        ] {
            let lines = wrong(&text);
            assert!(lines[0].contains(said), "{text:?}: {lines:?}");
        }
        let right =
            format!("[actions]\nmode = 'act'\n{service}{metric}{switch}password_file = 'p'\nuser = 'u'\n");
        let config = parse(Path::new("/etc/f.toml"), &right, &Given::default(), Beneath::default()).unwrap();
        let file = config.actions.capture.switch[0].password_file.as_deref();
        assert_eq!(file, Some(Path::new("/etc/p")), "from the file's folder");
        assert_eq!(config.actions.actions.mode, actions::mode::Mode::Act);
    }

    #[test]
    fn scripts_are_listed_and_what_they_share_is_set() {
        let text = "[[script]]\nfile = 'elb.js'\n[[script]]\nfile = '/opt/b.js'\n\
                    [scripts]\nfiles = 'c.js'\napps = 'app'\nallow = ['10.0.0.134:2376', '*.example.org']\n\
                    open = ['10.0.0.0/8', '2001:db8::1']\nmemory_mib = 32\ncall_limit_s = 5\nqueue = 10\nreload = true\n\
                    [scripts.actions]\ndocker_version = 'as-written'\nrun_commands = true\n\
                    [scripts.properties]\na.b = 'x'\n'a.c' = 0x10\nd = true\ne.f.g = 1.5\n";
        let scripts = parse(Path::new("/etc/f.toml"), text, &Given::default(), Beneath::default()).unwrap();
        let scripts = scripts.settings.scripts;
        let config = scripts.config;
        assert_eq!(config.scripts, ["/etc/c.js", "/etc/elb.js", "/opt/b.js"].map(PathBuf::from));
        assert_eq!(config.apps.as_deref(), Some(Path::new("/etc/app")));
        assert_eq!(scripts.open.len(), 2);
        assert_eq!(config.allow, ["10.0.0.134:2376", "*.example.org"].map(|host| host.parse().unwrap()));
        assert_eq!(config.docker_version, script::config::DockerVersion::AsWritten);
        assert_eq!(
            (config.limits.memory_bytes, config.limits.call.as_secs(), config.limits.queue),
            (32 << 20, 5, 10)
        );
        assert_eq!((config.run_commands, config.reload), (true, true));
        let properties: Vec<String> =
            config.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(properties, ["a.b=x", "a.c=16", "d=true", "e.f.g=1.5"]);

        let table = "[script]\napps = 'app'\n[script.actions]\nrun_commands = true\n";
        let config = parse(Path::new("f.toml"), table, &Given::default(), Beneath::default()).unwrap();
        assert!(config.settings.scripts.config.run_commands, "as in [scripts]");
        let nested =
            "[[script]]\nfile = 'a.js'\n[script.actions]\nrun_commands = true\n[[script]]\nfile = 'b.js'\n";
        let config = parse(Path::new("f.toml"), nested, &Given::default(), Beneath::default()).unwrap();
        assert!(config.settings.scripts.config.run_commands, "of all scripts");
        for (text, said) in [
            (
                "[[script]]\nfiel = 'a.js'\n",
                "f.toml:2:1: \"fiel\" is no key of [[script]]: did you mean \"file\"?",
            ),
            ("[[script]]\nfile = 1\n", "f.toml:2:8: script.file: a path is needed, not a number"),
            ("script = ['a.js']\n", "f.toml:1:11: script are tables, [[script]], not a text"),
            ("script = 'a.js'\n", "f.toml:1:10: script is a table, [script], not a text"),
            ("[[script]]\n", "f.toml:1:1: [[script]] file is missing"),
            (
                "[[script]]\nfile = 'a.js'\nactions = {}\n[[script]]\nfile = 'b.js'\nactions = {}\n",
                "f.toml:6:1: [script.actions] is about all scripts: one is enough",
            ),
            ("[scripts]\nallow = ['http://a/']\n", "f.toml:2:9: scripts.allow: "),
            ("[scripts]\nopen = '10.0.0.1/8'\n", "f.toml:2:8: scripts.open: \"10.0.0.1/8\" is no prefix"),
            ("[scripts]\naps = 'a'\n", "f.toml:2:1: \"aps\" is no key of [scripts]: did you mean \"apps\"?"),
            ("[scripts.action]\n", "f.toml:1:10: [scripts.action] is no table of this file"),
            ("[scripts.actions]\nrun = true\n", "f.toml:2:1: \"run\" is no key of [scripts.actions]"),
            (
                "[scripts.actions]\nrun_commands = 1\n",
                "f.toml:2:16: scripts.actions.run_commands: true or false is needed",
            ),
            ("[scripts.properties]\na = [1]\n", "f.toml:2:5: scripts.properties.a: a text, a number"),
        ] {
            let lines = wrong(text);
            assert!(lines[0].contains(said), "{text:?}: {lines:?}");
            assert_eq!(lines.len(), 1, "{text:?}: {lines:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_in_the_order_of_the_file() {
        let lines = wrong("[flows.f]\nkeys = 'x'\n[sflow]\nlisten = 1\n'é' = { a = 1 }\n");
        let places: Vec<_> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["/etc/f.toml:1:8", "/etc/f.toml:4:10", "/etc/f.toml:5:1"], "{lines:?}");
    }

    #[test]
    fn a_file_of_nothing_but_mistakes_is_told_in_part() {
        let text: String = (0..50_000).map(|n| format!("k{n} = 1\n")).collect();
        let lines = wrong(&text);
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (101, "/etc/f.toml: and 49900 more"));
    }

    #[test]
    fn what_is_right_is_taken() {
        let text = "state_dir = 'state'\n[sflow]\nlisten = '[::1]:7000'\nreceive_buffer = 0x10_0000\n[tables]\nmetric_timeout = 60\n\
                    [flows.flows]\nvalue = 'frames'\n[maps.m]\nweb = [80, '443']\n[thresholds.t]\nmetric = 'flows'\nvalue = 1e6\n";
        let config = parse(Path::new("/etc/f.toml"), text, &Given::default(), Beneath::default()).unwrap();
        assert_eq!(config.settings.engine.sflow, ["[::1]:7000".parse().unwrap()]);
        assert_eq!(config.settings.engine.receive_buffer, 1 << 20);
        assert_eq!(
            config.settings.state_dir.as_deref(),
            Some(Path::new("/etc/state")),
            "from the file's folder"
        );
        assert_eq!(
            config.program.flows["flows"].spec.value, "frames",
            "the file's flow stands for the built-in one"
        );
        assert!(config.program.lookups.groups.contains_key("default"));
        let listed = "[agents]\nunlisted = 'refuse'\n[[agents.listed]]\naddress = '10.0.0.0/24'\n[[agents.listed]]\naddress = '10.0.0.9'\n\
                      sources = ['192.0.2.1', '2001:db8::/64']\n";
        let trust =
            parse(Path::new("f.toml"), listed, &Given::default(), Beneath::default()).unwrap().settings.trust;
        let entry = |agents, sources: &[&str]| Listed::new(agents, sources).unwrap();
        let all = [entry("10.0.0.0/24", &[]), entry("10.0.0.9", &["192.0.2.1", "2001:db8::/64"])];
        assert_eq!((trust.unlisted, trust.foreign), (Unlisted::Refuse, Foreign::Refuse));
        assert_eq!(trust.listed, all);
        let queues = "[ingest]\ninterface = 'eth0'\nqueues = '0-1'\nxdp_mode = 'copy'\nframes = 1000\n";
        let config = parse(Path::new("f.toml"), queues, &Given::default(), Beneath::default()).unwrap();
        let interface = config.settings.engine.interface;
        assert_eq!((interface.queues, interface.frames), (vec![0, 1], 1024));
        let without = "[ingest]\nqueues = [1]\n";
        let wrong = parse(Path::new("f.toml"), without, &Given::default(), Beneath::default()).unwrap_err();
        assert_eq!(
            wrong.lines,
            [
                "f.toml:2:10: ingest.queues: queues are those of an interface: name it (ingest.interface, --interface)"
            ]
        );
        let none = parse(Path::new("f.toml"), "defaults = false", &Given::default(), Beneath::default())
            .unwrap()
            .program;
        assert_eq!(none.to_json(), Program::default().to_json());
    }
}
