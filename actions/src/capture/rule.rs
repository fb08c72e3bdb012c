//! A capture as a file of rules, and back. Rules are made of typed addresses and interface names; what is read is of the
//! grammar, or it is not ours.

use acl::{Action, Comment, Erspan, File, Line, Owner, Prefix, Table, capture_pair};

use super::wanted::{Found, Wanted};

/// What stands in a mark before the policy's name.
const POLICY: &str = "policy=";

/// The file of a capture, with the mark of `instance`.
///
/// # Errors
/// An interface or an address cannot stand in a rule; the message says which.
pub fn file(instance: &str, wanted: &Wanted) -> Result<File, String> {
    let owner: Owner = instance.parse().map_err(|error: acl::Invalid| error.to_string())?;
    let make = || -> Result<File, acl::Invalid> {
        let mark = Comment::mark(&owner, &format!("{POLICY}{}", wanted.policy))?;
        let interfaces = wanted.interfaces.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
        let mirror = Erspan::new(wanted.erspan_source, wanted.analyzer, None)?;
        let hosts = [wanted.local, wanted.remote].map(Prefix::host);
        let rules = capture_pair(&interfaces, hosts[0], hosts[1], mirror)?;
        let table = if wanted.local.is_ipv4() { Table::Ipv4 } else { Table::Ipv6 };
        File::of(table, vec![mark], rules).map_err(|wrong| wrong.why)
    };
    make().map_err(|error| error.to_string())
}

/// What was found under one of our names, by its lines.
pub fn found<L: AsRef<str>>(instance: &str, lines: &[L]) -> Found {
    let is_ours = |owner: Option<Owner>| owner.is_some_and(|owner| owner.as_str() == instance);
    let Ok(file) = File::parse(lines) else {
        // The mark alone says whose it is, though someone has broken the rest.
        let marks = lines.iter().filter_map(|line| line.as_ref().trim().strip_prefix('#'));
        let mut owners = marks.filter_map(|comment| comment.parse::<Comment>().ok()?.owner());
        return if is_ours(owners.next()) { Found::Changed } else { Found::Unmarked };
    };
    if !is_ours(file.owner()) {
        return Found::Unmarked;
    }
    match wanted(&file) {
        // Whatever else stands in it, it is not what we have put.
        Some(wanted) if self::file(instance, &wanted).is_ok_and(|again| again == file) => Found::Ours(wanted),
        _ => Found::Changed,
    }
}

/// The capture of a file, by its first rule and its mark; what it says beside these is not looked at.
fn wanted(file: &File) -> Option<Wanted> {
    let mark = file.entries().iter().find_map(|line| match line {
        Line::Comment(comment) => comment.owner().is_some().then_some(comment.as_str()),
        _ => None,
    })?;
    let policy = mark.rsplit_once(' ')?.1.strip_prefix(POLICY)?;
    let (_, first) = file.rules().next()?;
    let Action::Erspan(mirror) = first.action else { return None };
    let mut interfaces = Vec::new();
    for (_, rule) in file.rules() {
        let name = rule.input.as_ref()?.as_str();
        if interfaces.last().is_none_or(|last| last != name) {
            interfaces.push(name.to_owned());
        }
    }
    Some(Wanted {
        local: first.source?.address(),
        remote: first.destination?.address(),
        erspan_source: mirror.source(),
        analyzer: mirror.analyzer(),
        interfaces,
        policy: policy.to_owned(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn capture() -> Wanted {
        Wanted {
            local: [10, 0, 0, 162].into(),
            remote: [192, 0, 2, 1].into(),
            erspan_source: [10, 0, 0, 253].into(),
            analyzer: [10, 0, 0, 70].into(),
            interfaces: vec!["swp+".to_owned()],
            policy: "emerging".to_owned(),
        }
    }

    #[test]
    fn a_capture_is_the_rules_of_the_article_and_is_read_back() {
        let lines = file("main", &capture()).unwrap().lines();
        assert_eq!(
            lines,
            [
                "[iptables]",
                "# finderscope owner=main policy=emerging",
                "-A FORWARD --in-interface swp+ -s 10.0.0.162 -d 192.0.2.1 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70",
                "-A FORWARD --in-interface swp+ -s 192.0.2.1 -d 10.0.0.162 -j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70",
            ]
        );
        assert_eq!(found("main", &lines), Found::Ours(capture()));
        assert_eq!(found("other", &lines), Found::Unmarked);
        let ports = Wanted { interfaces: vec!["swp1".to_owned(), "swp2".to_owned()], ..capture() };
        assert_eq!(found("main", &file("main", &ports).unwrap().lines()), Found::Ours(ports));
        let v6 = Wanted {
            local: "2001:db8::1".parse().unwrap(),
            remote: "2001:db8::2".parse().unwrap(),
            ..capture()
        };
        let lines = file("main", &v6).unwrap().lines();
        assert_eq!((lines[0].as_str(), found("main", &lines)), ("[ip6tables]", Found::Ours(v6)));
    }

    #[test]
    fn what_was_changed_is_not_ours_any_more_or_is_put_again() {
        let lines = file("main", &capture()).unwrap().lines();
        let with = |at: usize, line: &str| {
            let mut lines = lines.clone();
            lines[at] = line.to_owned();
            found("main", &lines)
        };
        assert_eq!(with(1, "# emerging threat capture"), Found::Unmarked);
        assert_eq!(with(1, "# finderscope owner=main"), Found::Changed);
        assert_eq!(with(3, "-A FORWARD -j DROP"), Found::Changed);
        assert_eq!(with(3, "-A OUTPUT -j ACCEPT"), Found::Changed);
        assert_eq!(with(3, "# nothing"), Found::Changed);
        assert_eq!(found("main", &lines[..3]), Found::Changed);
        assert_eq!(found::<&str>("main", &[]), Found::Unmarked);
        assert_eq!(found("main", &["-A OUTPUT -j ACCEPT"]), Found::Unmarked);
    }

    #[test]
    fn no_text_becomes_a_rule() {
        for (policy, interface) in [("a\n-A FORWARD -j DROP", "swp+"), ("a", "swp+ -j DROP"), ("a", "swp\n")]
        {
            let odd =
                Wanted { policy: policy.to_owned(), interfaces: vec![interface.to_owned()], ..capture() };
            assert!(file("main", &odd).is_err(), "{policy:?} {interface:?}");
        }
        assert!(file("ma in", &capture()).is_err());
    }
}
