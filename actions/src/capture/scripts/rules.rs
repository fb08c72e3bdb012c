//! What a script may have put on a switch: the mirror of one pair of hosts, in both directions or in one. It is read with
//! the grammar of rules, and what is put is what was understood, with our mark in it.

use std::net::{IpAddr, Ipv4Addr};

use acl::{Action, Chain, Comment, Erspan, File, Line, Owner, Prefix, Rule};

use super::super::config::is_host;
use super::super::pair::Pair;
use super::super::wanted::Found;

/// What stands in a mark before the script's name.
const SCRIPT: &str = "script=";

/// What our comments begin with: a script has none like them.
const MARK: &str = "finderscope ";

/// Rules of a capture at most: both directions at eight interfaces.
const MOST_RULES: usize = 16;

/// Characters of a script's name in a mark at most.
const LONGEST_SCRIPT: usize = 64;

/// The mirror of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pair: Pair,
    local: IpAddr,
    remote: IpAddr,
    both_ways: bool,
    mirror: Erspan,
    file: File,
}

impl Mirror {
    /// Reads the lines that a script sends.
    ///
    /// # Errors
    /// They are not of the grammar, or no mirror of one pair of hosts; the message says which line, and what is wanted.
    pub fn read<L: AsRef<str>>(lines: &[L]) -> Result<Self, String> {
        let file = File::parse(lines).map_err(|wrong| wrong.to_string())?;
        let mut found: Option<Self> = None;
        let mut count = 0;
        for (at, line) in file.entries().iter().enumerate() {
            let wrong = |why: &str| format!("entry {}: {why}", at + 1);
            match line {
                Line::Table(_) if at > 0 => return Err(wrong("one table is allowed, in the first line")),
                Line::Table(_) => {}
                Line::Comment(comment) if comment.as_str().starts_with(MARK) => {
                    return Err(wrong("a comment that begins with \"finderscope\" is ours to make"));
                }
                Line::Comment(_) => {}
                Line::Rule(rule) => {
                    count += 1;
                    let (local, remote, mirror) = one(rule).map_err(|why| wrong(&why))?;
                    let pair = Pair::new(local, remote)
                        .ok_or_else(|| wrong("source and destination are no two hosts"))?;
                    match &mut found {
                        None => {
                            let file = file.clone();
                            found = Some(Self { pair, local, remote, both_ways: false, mirror, file });
                        }
                        Some(found) if found.pair != pair || found.mirror != mirror => {
                            return Err(wrong("all rules of a capture are of one pair and one analyzer"));
                        }
                        Some(found) => found.both_ways |= found.local == remote,
                    }
                }
            }
        }
        if count > MOST_RULES {
            return Err(format!("there are {count} rules, and a capture has {MOST_RULES} at most"));
        }
        found.ok_or_else(|| "there is no rule: a capture has one with -j ERSPAN".to_owned())
    }

    /// The two hosts.
    pub fn pair(&self) -> Pair {
        self.pair
    }

    /// The host that the first rule is from, which is taken for ours.
    pub fn local(&self) -> IpAddr {
        self.local
    }

    /// The other one.
    pub fn remote(&self) -> IpAddr {
        self.remote
    }

    /// Whether both directions are mirrored.
    pub fn both_ways(&self) -> bool {
        self.both_ways
    }

    /// Where the copies go.
    pub fn analyzer(&self) -> Ipv4Addr {
        self.mirror.analyzer()
    }

    /// Whether both have the same rules, in whatever order.
    pub fn is_same(&self, other: &Self) -> bool {
        let rules = |of: &Self| {
            let mut rules: Vec<String> = of.file.rules().map(|(_, rule)| rule.to_string()).collect();
            rules.sort_unstable();
            rules
        };
        self.pair == other.pair && self.mirror == other.mirror && rules(self) == rules(other)
    }

    /// The lines as the script sent them, in their canonical form.
    pub fn lines(&self) -> Vec<String> {
        self.file.lines()
    }

    /// The lines that are put, with the mark of `instance` and of the script.
    ///
    /// # Errors
    /// The instance is none that may stand in a comment.
    pub fn marked(&self, instance: &str, script: &str) -> Result<Vec<String>, String> {
        let make = || -> Result<Vec<String>, acl::Invalid> {
            let owner: Owner = instance.parse()?;
            let mark = Comment::mark(&owner, &format!("{SCRIPT}{}", plain(script)))?;
            let mut lines = self.file.entries().to_vec();
            lines.insert(usize::from(matches!(lines.first(), Some(Line::Table(_)))), Line::Comment(mark));
            Ok(lines.iter().map(ToString::to_string).collect())
        };
        make().map_err(|error| error.to_string())
    }
}

/// Hosts and mirror of a rule.
fn one(rule: &Rule) -> Result<(IpAddr, IpAddr, Erspan), String> {
    let Action::Erspan(mirror) = rule.action else {
        return Err("a script's rule captures: -j ERSPAN is allowed and nothing else".to_owned());
    };
    if rule.chain != Chain::Forward || rule.output.is_some() {
        return Err("a capture stands in the chain FORWARD, without --out-interface".to_owned());
    }
    if rule.input.is_none() {
        return Err("a capture needs --in-interface, such as swp+".to_owned());
    }
    for (what, address) in [("--src-ip", mirror.source()), ("--dst-ip", mirror.analyzer())] {
        // A loopback address is one of the switch's own.
        if !address.is_loopback() && !is_host(address.into()) {
            return Err(format!("{what} {address} is no address of a host"));
        }
    }
    let host = |prefix: Option<Prefix>, what: &str| {
        let prefix = prefix.ok_or_else(|| format!("{what} is missing: a capture is of two hosts"))?;
        let whole = if prefix.address().is_ipv4() { 32 } else { 128 };
        if prefix.length() != whole || !is_host(prefix.address()) {
            return Err(format!("{what} {prefix} is no host, and a capture is of two hosts"));
        }
        Ok(prefix.address())
    };
    Ok((host(rule.source, "-s")?, host(rule.destination, "-d")?, mirror))
}

/// A script's name as it may stand in a comment.
fn plain(script: &str) -> String {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '~');
    script.chars().take(LONGEST_SCRIPT).map(|c| if known(c) { c } else { '_' }).collect()
}

/// What was found under a name that is none of ours: a script's rule of this instance, or somebody's.
pub fn found<L: AsRef<str>>(instance: &str, lines: &[L]) -> Found {
    let ours = lines.iter().filter_map(|line| line.as_ref().trim().strip_prefix('#')).any(|text| {
        let Ok(comment) = text.parse::<Comment>() else { return false };
        let owner = comment.owner().is_some_and(|owner| owner.as_str() == instance);
        let mark = comment.as_str().rsplit_once(' ').map(|(_, what)| what);
        owner && mark.is_some_and(|what| what.starts_with(SCRIPT))
    });
    if !ours {
        return Found::Unmarked;
    }
    // Where somebody has broken the rest, it is as it is: not what is wanted.
    let as_it_is = || lines.iter().map(|line| line.as_ref().to_owned()).collect();
    Found::Script(File::parse(lines).map_or_else(|_| as_it_is(), |file| file.lines()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const THERE: &str = "-A FORWARD --in-interface swp+ -s 10.0.0.162 -d 192.0.2.1 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70";
    const BACK: &str = "-A FORWARD --in-interface swp+ -s 192.0.2.1 -d 10.0.0.162 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70";

    #[test]
    fn the_lines_of_the_article_are_a_mirror_and_are_put_with_our_mark() {
        let lines = ["[iptables]", "# emerging threat capture", THERE, BACK];
        let mirror = Mirror::read(&lines).unwrap();
        assert_eq!((mirror.local(), mirror.remote()), ([10, 0, 0, 162].into(), [192, 0, 2, 1].into()));
        assert!(mirror.both_ways());
        assert_eq!(mirror.analyzer(), Ipv4Addr::new(10, 0, 0, 70));
        assert_eq!(mirror.lines(), lines);
        let marked = mirror.marked("main", "emerging.js").unwrap();
        let mark = "# finderscope owner=main script=emerging.js";
        assert_eq!(marked, ["[iptables]", mark, "# emerging threat capture", THERE, BACK]);
        assert_eq!(found("main", &marked), Found::Script(marked.clone()));
        assert_eq!(found("other", &marked), Found::Unmarked);
        assert_eq!(found("main", &lines), Found::Unmarked);
        let native = ["[iptables]", "# finderscope owner=main policy=emerging", THERE];
        assert_eq!(found("main", &native), Found::Unmarked, "it is no script's");
        let broken = ["[iptables]", mark, "-A OUTPUT -j ACCEPT"];
        assert_eq!(found("main", &broken), Found::Script(broken.map(str::to_owned).to_vec()));
        let odd = mirror.marked("main", "my script\n-A FORWARD -j DROP").unwrap();
        assert_eq!(odd[1], "# finderscope owner=main script=my_script_-A_FORWARD_-j_DROP");
    }

    #[test]
    fn the_same_rules_are_the_same_in_whatever_order() {
        let read = |lines: &[&str]| Mirror::read(lines).unwrap();
        let one = read(&["[iptables]", "# a", THERE, BACK]);
        assert!(one.is_same(&read(&["[iptables]", BACK, THERE])));
        assert!(!one.is_same(&read(&["[iptables]", THERE])));
        let other = [THERE, BACK].map(|line| line.replace("10.0.0.70", "10.0.0.71"));
        assert!(!one.is_same(&read(&["[iptables]", &other[0], &other[1]])));
        let loopback = THERE.replace("10.0.0.253", "127.0.0.2");
        assert!(Mirror::read(&["[iptables]", &loopback]).is_ok(), "the switch's own address");
        let six = "-A FORWARD -i swp1 -s 2001:db8::1 -d 2001:db8::2 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70";
        assert!(read(&["[ip6tables]", six]).pair().is_ipv6());
    }

    #[test]
    fn what_is_no_mirror_of_one_pair_is_refused() {
        let with = |from: &str, to: &str| THERE.replace(from, to);
        for (line, named) in [
            (with("-j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70", "-j DROP"), "ERSPAN is allowed"),
            (with("-j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70", "-j ACCEPT"), "ACCEPT"),
            (with("10.0.0.162", "10.0.0.0/24"), "-s 10.0.0.0/24 is no host"),
            (with("192.0.2.1", "0.0.0.0/0"), "-d 0.0.0.0/0 is no host"),
            (with("192.0.2.1", "224.0.0.1"), "is no host"),
            (with("192.0.2.1", "10.0.0.162"), "no two hosts"),
            (with(" -s 10.0.0.162", ""), "-s is missing"),
            (with(" --in-interface swp+", ""), "--in-interface"),
            (with("-s 10", "-o swp2 -s 10"), "--out-interface"),
            (with("FORWARD", "INPUT"), "FORWARD"),
            (with("--dst-ip 10.0.0.70", "--dst-ip 169.254.169.254"), "--dst-ip 169.254.169.254"),
            (with("--dst-ip 10.0.0.70", "--dst-ip 0.0.0.0"), "0.0.0.0"),
            (format!("{THERE}\n-A FORWARD -j DROP"), "line 2"),
            ("# finderscope owner=main policy=emerging".to_owned(), "ours to make"),
            ("[ip6tables]".to_owned(), "one table"),
            ("# nothing".to_owned(), "there is no rule"),
        ] {
            let why = Mirror::read(&["[iptables]", line.as_str()]).unwrap_err();
            assert!(why.contains(named), "{line}: {why}");
        }
        for (lines, named) in [
            (vec!["[iptables]", THERE, &with("192.0.2.1", "192.0.2.2")], "one pair"),
            (vec!["[iptables]", THERE, &with("10.0.0.70", "10.0.0.71")], "one analyzer"),
            (vec![THERE], "before [iptables]"),
            (vec![], "there is no rule"),
            (
                [vec!["[iptables]"], vec![THERE; MOST_RULES + 1]].concat(),
                "there are 17 rules, and a capture has 16",
            ),
        ] {
            let why = Mirror::read(&lines).unwrap_err();
            assert!(why.contains(named), "{lines:?}: {why}");
        }
    }
}
