//! The grammar from outside: what is emitted is read again as the same, what is not of the grammar is refused by line.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroU32};

use acl::{
    Action, Chain, Comment, Erspan, File, Interface, Line, LogPrefix, Owner, Police, PoliceMode, Ports,
    Prefix, Protocol, Rule, Table, capture_pair,
};
use proptest::prelude::*;

fn one(rule: &str) -> Result<String, String> {
    File::parse(&["[iptables]", rule]).map(|file| file.lines().remove(1)).map_err(|wrong| wrong.to_string())
}

#[test]
fn rules_of_the_published_documentation_are_taken() {
    for rule in [
        "-A FORWARD --in-interface swp+ -s 20.0.0.2 -d 20.0.1.2 -j ERSPAN --src-ip 90.0.0.1 --dst-ip 20.0.2.2",
        "-A FORWARD --in-interface swp1 -j ERSPAN --src-ip 12.0.0.1 --dst-ip 12.0.0.2 --ttl 64",
        "-A FORWARD --in-interface swp+ -s 20.0.0.2 -p icmp -j SPAN --dport swp1s2",
        "-A FORWARD --in-interface swp1s0 -d 20.0.1.2 -p udp --dport 53 -j SPAN --dport swp1s2",
        "-A FORWARD --out-interface bond0 -j SPAN --dport bond1",
        "-A INPUT --in-interface swp1 -p tcp --sport 1024:65535 -j POLICE --set-mode pkt --set-rate 400 --set-burst 100",
        "-A FORWARD --in-interface swp+ -j POLICE --set-mode KB --set-rate 1000 --set-burst 200",
        "-A FORWARD --in-interface swp+ -s 10.0.0.0/8 -j DROP",
        "-A FORWARD --in-interface swp1 -p tcp --dport 22 -j LOG --log-prefix \"swp1 ssh: \"",
        "-A INPUT --in-interface swp+ -p ospf -j LOG",
    ] {
        assert_eq!(one(rule).as_deref(), Ok(rule));
    }
}

#[test]
fn other_spellings_have_the_same_canonical_line() {
    let canonical = "-A FORWARD --in-interface swp+ -s 20.0.0.2 -d 20.0.1.2 -p tcp --sport 80 --dport 1024:2048 -j ERSPAN \
                     --src-ip 90.0.0.1 --dst-ip 20.0.2.2 --ttl 64";
    for rule in [
        "--append FORWARD --destination-port 1024:2048 -p 6 --source-port 80:80 --dst 20.0.1.2/32 --src 20.0.0.2 -i swp+ \
         --jump ERSPAN --ttl 64 --dst-ip 20.0.2.2 --src-ip 90.0.0.1",
        "  -A  FORWARD -i swp+ --source 20.0.0.2 --destination 20.0.1.2 --protocol tcp --sport 80 --dport 1024:2048 -j ERSPAN \
         --src-ip 90.0.0.1 --dst-ip 20.0.2.2   --ttl 64 ",
    ] {
        assert_eq!(one(rule).as_deref(), Ok(canonical));
    }
    let log = "-A FORWARD --in-interface swp1 -j LOG --log-prefix \"x\"";
    assert_eq!(one("-A FORWARD -i swp1 -j LOG --log-prefix x").as_deref(), Ok(log));
    let v6 = File::parse(&["# x", "", "[ip6tables]", "#y", "-A FORWARD -s 2001:DB8::0 -p icmpv6 -j DROP"])
        .unwrap();
    assert_eq!(v6.lines(), ["# x", "[ip6tables]", "# y", "-A FORWARD -s 2001:db8:: -p ipv6-icmp -j DROP"]);
}

/// What is refused, with a piece of what is said about it.
const REFUSED: &[(&str, &str)] = &[
    ("iptables -A FORWARD -j DROP", "\"iptables\" does not begin a rule"),
    ("-t mangle -A PREROUTING -j DROP", "\"-t\" does not begin a rule"),
    ("-D FORWARD 1", "\"-D\" does not begin a rule"),
    ("-P FORWARD DROP", "does not begin a rule"),
    ("-A OUTPUT -j DROP", "the chain \"OUTPUT\""),
    ("-A FORWARD,INPUT -j DROP", "the chain \"FORWARD,INPUT\""),
    ("-A $CHAIN -j DROP", "'$' cannot stand within a word"),
    ("-A \"FORWARD\" -j DROP", "the chain"),
    ("-A FORWARD", "the rule has no target"),
    ("-A FORWARD -j", "the rule has no target"),
    ("-A FORWARD -s", "-s has no value"),
    ("-A FORWARD -s -j DROP", "-s has no value"),
    ("-A FORWARD -j ACCEPT", "the target \"ACCEPT\""),
    ("-A FORWARD -j SETCLASS --class 7", "the target \"SETCLASS\""),
    ("-A FORWARD -j drop", "the target \"drop\""),
    ("-A FORWARD -j DROP -s 10.0.0.1", "DROP has no \"-s\""),
    ("-A FORWARD -j DROP --", "DROP has no \"--\""),
    ("-A FORWARD -j DROP -j DROP", "DROP has no \"-j\""),
    ("-A FORWARD ! -s 10.0.0.1 -j DROP", "nothing can be negated"),
    ("-A FORWARD -m comment --comment x -j DROP", "\"-m\" is not of the grammar"),
    ("-A FORWARD -p tcp --tcp-flags ALL SYN -j DROP", "\"--tcp-flags\" is not of the grammar"),
    ("-A FORWARD -s 10.0.0.1 -s 10.0.0.2 -j DROP", "-s is given twice"),
    ("-A FORWARD -s 10.0.0.1 --src 10.0.0.2 -j DROP", "--src is given twice"),
    ("-A FORWARD -s \"10.0.0.1\" -j DROP", "the value of -s stands in quotes"),
    ("-A FORWARD -s 10.0.0.1/8 -j DROP", "has host bits: say 10.0.0.0/8"),
    ("-A FORWARD -s 2001:db8::1 -j DROP", "2001:db8::1 does not belong into [iptables]"),
    ("-A FORWARD -s example.com -j DROP", "\"example.com\" is no prefix"),
    ("-A FORWARD -p icmpv6 -j DROP", "the protocol ipv6-icmp does not belong into [iptables]"),
    ("-A FORWARD --dport 80 -j DROP", "ports need -p tcp"),
    ("-A FORWARD -p icmp --dport 80 -j DROP", "ports need -p tcp"),
    ("-A FORWARD -p tcp --dport bgp -j DROP", "\"bgp\" is no port"),
    ("-A FORWARD -i swp1;reboot -j DROP", "\"swp1;reboot\" is no interface"),
    ("-A FORWARD -i -j -j DROP", "-i has no value"),
    ("-A INPUT -j DROP", "the chain INPUT needs --in-interface"),
    ("-A INPUT -i swp1 -o swp2 -j DROP", "does not go out"),
    ("-A INPUT -i swp1 -j SPAN --dport swp2", "a mirror belongs into the chain FORWARD"),
    ("-A FORWARD -j ERSPAN --src-ip 1.2.3.4", "ERSPAN needs --dst-ip"),
    ("-A FORWARD -j ERSPAN --src-ip 1.2.3.4 --dst-ip ::1", "a tunnel is IPv4"),
    ("-A FORWARD -j ERSPAN --src-ip 1.2.3.4 --dst-ip 224.0.0.1", "224.0.0.1 is no address of a host"),
    ("-A FORWARD -j ERSPAN --src-ip 0.0.0.0 --dst-ip 1.2.3.4", "0.0.0.0 is no address of a host"),
    ("-A FORWARD -j ERSPAN --src-ip 1.2.3.4 --dst-ip 1.2.3.4 --ttl 0", "\"0\" is no time to live"),
    ("-A FORWARD -j ERSPAN --src-ip 1.2.3.4 --dst-ip 1.2.3.4 --ttl", "--ttl has no value"),
    ("-A FORWARD -j ERSPAN --src-ip 1.2.3.4 --src-ip 1.2.3.4 --dst-ip 1.2.3.4", "--src-ip is given twice"),
    ("-A FORWARD -j SPAN --dport swp+", "SPAN goes to one port"),
    ("-A FORWARD -j SPAN", "SPAN needs --dport"),
    ("-A FORWARD -j POLICE --set-mode kb --set-rate 1 --set-burst 1", "--set-mode is pkt or KB"),
    ("-A FORWARD -j POLICE --set-mode pkt --set-rate 0 --set-burst 1", "\"0\" is no rate"),
    ("-A FORWARD -j POLICE --set-mode pkt --set-rate 4294967296 --set-burst 1", "is no rate"),
    ("-A FORWARD -j POLICE --set-mode pkt --set-rate 1", "POLICE needs --set-burst"),
    ("-A FORWARD -j LOG --log-level debug", "LOG has no \"--log-level\""),
    ("-A FORWARD -j LOG --log-prefix \"\"", "is no log prefix"),
    ("-A FORWARD -j LOG --log-prefix \"a;b\"", "is no log prefix"),
    ("-A FORWARD -j LOG --log-prefix \"123456789012345678901234567890\"", "is no log prefix"),
    ("-A FORWARD -j LOG --log-prefix \"a", "a quote is opened and not closed"),
    ("-A FORWARD -j LOG --log-prefix 'a'", "'\\'' cannot stand within a word"),
    ("-A FORWARD -j DROP # x", "DROP has no \"#\""),
    ("-A FORWARD -j DROP\n-A INPUT -i eth0 -j DROP", "character 19 is a newline"),
    ("-A FORWARD -j DROP\0", "character 19 is a NUL"),
    ("-A FORWARD -j DROP\r", "character 19 is U+000D"),
    ("-A\u{a0}FORWARD -j DROP", "character 3 is U+00A0"),
    ("# comment\n-A FORWARD -j ACCEPT", "character 10 is a newline"),
    ("# \\", "'\\\\' cannot stand in a comment"),
    ("[ebtables]", "the table \"[ebtables]\""),
    ("[iptables] -A FORWARD -j DROP", "the table"),
    ("INGRESS_CHAIN = INPUT", "\"INGRESS_CHAIN\" does not begin a rule"),
    ("include /etc/passwd", "\"include\" does not begin a rule"),
];

#[test]
fn what_is_not_of_the_grammar_is_refused_by_its_line() {
    for (rule, why) in REFUSED {
        let said = one(rule).expect_err(rule);
        assert!(said.starts_with("line 2: ") && said.contains(why), "{rule:?}: {said}");
        assert!(said.len() < 400 && said.chars().all(|c| !c.is_control()), "{said:?}");
    }
    let said = File::parse(&["-A FORWARD -j DROP"]).unwrap_err().to_string();
    assert_eq!(said, "line 1: a rule stands before [iptables] or [ip6tables]");
    let long = format!("-A FORWARD -j DROP{}", " ".repeat(512));
    assert_eq!(one(&long).unwrap_err(), "line 2: it has 530 bytes; 512 are allowed");
    let many = vec!["[iptables]"; 1001];
    assert_eq!(File::parse(&many).unwrap_err().to_string(), "line 1001: a file has 1000 lines at most");
    assert_eq!(File::parse(&vec!["[iptables]"; 1000]).unwrap().entries().len(), 1000);
}

#[test]
fn values_put_together_are_held_to_the_same_rules() {
    let span = Action::Span { port: Interface::all_ports() };
    let rule = Rule::new(Chain::Forward, span);
    assert!(File::of(Table::Ipv4, vec![], vec![rule]).is_err());
    let ported =
        Rule { source_ports: Some("80".parse().unwrap()), ..Rule::new(Chain::Forward, Action::Drop) };
    assert!(File::of(Table::Ipv4, vec![], vec![ported]).is_err());
}

/// Both directions, as the article's script makes them with these inputs.
#[test]
fn a_capture_is_the_articles_byte_for_byte() {
    let (local, remote, agent, wireshark) = ("10.0.0.162", "203.0.113.7", "10.0.0.253", "10.0.0.70");
    let mirror = Erspan::new(agent.parse().unwrap(), wireshark.parse().unwrap(), None).unwrap();
    let rules =
        capture_pair(&[Interface::all_ports()], local.parse().unwrap(), remote.parse().unwrap(), mirror)
            .unwrap();
    let comment = "emerging threat capture".parse().unwrap();
    let file = File::of(Table::Ipv4, vec![comment], rules).unwrap();
    let target = format!("-j ERSPAN --src-ip {agent} --dst-ip {wireshark}");
    assert_eq!(
        file.lines(),
        [
            "[iptables]".to_owned(),
            "# emerging threat capture".to_owned(),
            format!("-A FORWARD --in-interface swp+ -s {local} -d {remote} {target}"),
            format!("-A FORWARD --in-interface swp+ -s {remote} -d {local} {target}"),
        ]
    );
    assert_eq!((file.owner(), file.rules().count()), (None, 2));
    assert_eq!(File::parse(&file.lines()), Ok(file));
}

#[test]
fn a_capture_of_ipv6_goes_to_an_ipv4_analyzer_and_carries_its_owner() {
    let mirror =
        Erspan::new(Ipv4Addr::new(10, 0, 0, 253), Ipv4Addr::new(10, 0, 0, 70), NonZeroU8::new(64)).unwrap();
    let interfaces = ["swp1".parse().unwrap(), "bond+".parse().unwrap()];
    let (local, remote): (Prefix, Prefix) =
        ("2001:db8::1".parse().unwrap(), "2001:db8:f::/48".parse().unwrap());
    let rules = capture_pair(&interfaces, local, remote, mirror).unwrap();
    let owner: Owner = "collector1".parse().unwrap();
    let file = File::of(Table::Ipv6, vec![Comment::mark(&owner, "emerging").unwrap()], rules).unwrap();
    assert_eq!(file.owner(), Some(owner));
    let target = "-j ERSPAN --src-ip 10.0.0.253 --dst-ip 10.0.0.70 --ttl 64";
    assert_eq!(
        file.lines(),
        [
            "[ip6tables]".to_owned(),
            "# finderscope owner=collector1 emerging".to_owned(),
            format!("-A FORWARD --in-interface swp1 -s 2001:db8::1 -d 2001:db8:f::/48 {target}"),
            format!("-A FORWARD --in-interface swp1 -s 2001:db8:f::/48 -d 2001:db8::1 {target}"),
            format!("-A FORWARD --in-interface bond+ -s 2001:db8::1 -d 2001:db8:f::/48 {target}"),
            format!("-A FORWARD --in-interface bond+ -s 2001:db8:f::/48 -d 2001:db8::1 {target}"),
        ]
    );
    let v4: Prefix = "10.0.0.1".parse().unwrap();
    let everything: Prefix = "::/0".parse().unwrap();
    for (interfaces, local, remote) in
        [(&interfaces[..0], local, remote), (&interfaces, local, v4), (&interfaces, everything, everything)]
    {
        assert!(capture_pair(interfaces, local, remote, mirror).is_err());
    }
}

fn interface() -> impl Strategy<Value = Interface> {
    "[a-z][a-z0-9._-]{0,13}[+]?".prop_map(|text| text.parse().unwrap())
}

fn prefix(table: Table) -> impl Strategy<Value = Prefix> {
    (any::<u128>(), 0..=128_u32).prop_map(move |(bits, length)| match table {
        Table::Ipv4 => {
            let (bits, length) = (bits as u32, length.min(32));
            let base = bits & u32::MAX.checked_shl(32 - length).unwrap_or(0);
            Prefix::new(IpAddr::V4(base.into()), length as u8).unwrap()
        }
        Table::Ipv6 => {
            let base = bits & u128::MAX.checked_shl(128 - length).unwrap_or(0);
            Prefix::new(IpAddr::V6(base.into()), length as u8).unwrap()
        }
    })
}

fn host() -> impl Strategy<Value = Ipv4Addr> {
    (0x0100_0000_u32..0xe000_0000).prop_map(Ipv4Addr::from)
}

fn action() -> impl Strategy<Value = Action> {
    let number = || (1..=u32::MAX).prop_map(|number| NonZeroU32::new(number).unwrap());
    let mode = prop_oneof![Just(PoliceMode::Packets), Just(PoliceMode::Kilobytes)];
    prop_oneof![
        (host(), host(), any::<u8>()).prop_map(|(source, analyzer, ttl)| {
            Action::Erspan(Erspan::new(source, analyzer, NonZeroU8::new(ttl)).unwrap())
        }),
        "[a-z][a-z0-9]{0,14}".prop_map(|port| Action::Span { port: port.parse().unwrap() }),
        (mode, number(), number()).prop_map(|(mode, rate, burst)| Action::Police(Police {
            mode,
            rate,
            burst
        })),
        Just(Action::Drop),
        Just(Action::Log { prefix: None }),
        "[-a-zA-Z0-9 _.:,/=()\\[\\]]{1,29}"
            .prop_map(|text| Action::Log { prefix: Some(text.parse::<LogPrefix>().unwrap()) }),
    ]
}

fn rule(table: Table) -> impl Strategy<Value = Rule> {
    let option = proptest::option::of::<BoxedStrategy<Prefix>>;
    let ports = || {
        proptest::option::of(
            (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Ports::new(a.min(b), a.max(b)).unwrap()),
        )
    };
    let protocol = proptest::option::of((1..=255_u8).prop_map(|n| Protocol::new(NonZeroU8::new(n).unwrap())));
    let ports = prop_oneof![
        (protocol, Just(None), Just(None)),
        (prop_oneof![Just(Some(Protocol::TCP)), Just(Some(Protocol::UDP))], ports(), ports()),
    ];
    let interfaces = (proptest::option::of(interface()), proptest::option::of(interface()), any::<bool>());
    let addresses = (option(prefix(table).boxed()), option(prefix(table).boxed()));
    (interfaces, addresses, ports, action())
        .prop_map(|((input, output, at_input), (source, destination), (protocol, from, to), action)| {
            let chain = if at_input { Chain::Input } else { Chain::Forward };
            let rule = Rule::new(chain, action);
            Rule {
                input,
                output,
                source,
                destination,
                protocol,
                source_ports: from,
                destination_ports: to,
                ..rule
            }
        })
        .prop_filter("a rule that the table can have", move |rule| rule.check(table).is_ok())
}

fn file() -> impl Strategy<Value = File> {
    let comment = "[ -#%-\\[\\]^_a-~]{0,80}".prop_map(|text| Line::Comment(text.parse().unwrap()));
    let section = |table: Table| {
        proptest::collection::vec(prop_oneof![comment.clone(), rule(table).prop_map(Line::Rule)], 0..6)
            .prop_map(move |lines| [vec![Line::Table(table)], lines].concat())
    };
    let sections = prop_oneof![section(Table::Ipv4), section(Table::Ipv6)];
    (proptest::collection::vec(comment.clone(), 0..2), proptest::collection::vec(sections, 0..4))
        .prop_map(|(first, sections)| File::new([first, sections.concat()].concat()).unwrap())
}

proptest! {
    #[test]
    fn what_is_emitted_is_read_as_the_same(file in file()) {
        let lines = file.lines();
        prop_assert!(lines.iter().all(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte))));
        prop_assert_eq!(File::parse(&lines), Ok(file));
    }

    /// Near the grammar and far from it: what is taken is canonical after one round, and is printable.
    #[test]
    fn what_is_taken_is_canonical_after_one_round(
        words in proptest::collection::vec(
            prop_oneof![
                "-A|FORWARD|INPUT|-i|-o|-s|-d|-p|--sport|--dport|-j|ERSPAN|SPAN|POLICE|DROP|LOG|--log-prefix|--ttl|!|#",
                "--src-ip|--dst-ip|--set-mode|--set-rate|--set-burst|pkt|KB|swp[+1]|tcp|80|1:2|10[.]0[.]0[.]0/8|\"a b\"|\n",
                any::<String>(),
            ],
            0..14,
        ),
        begin in any::<bool>(),
    ) {
        let begin = if begin { "-A FORWARD " } else { "" };
        let line = format!("{begin}{}", words.join(" "));
        match File::parse(&["[iptables]", &line]) {
            Ok(file) => {
                prop_assert!(!line.contains(['\n', '\0', '\r']));
                prop_assert_eq!(File::parse(&file.lines()), Ok(file));
            }
            Err(wrong) => {
                prop_assert_eq!(wrong.line, 2);
                prop_assert!(wrong.to_string().chars().all(|c| !c.is_control()));
            }
        }
    }
}
