use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::*;

const ARTICLE: &str = "sflow {
  sampling = 400
  polling = 10
  collector { ip = 10.0.0.162 } 
  docker { }
  pcap { dev = docker0 }
  pcap { dev = docker_gwbridge }
}
";

fn conf(text: &str) -> Settings {
    parse(Path::new("/etc/hsflowd.conf"), text, false).unwrap().settings
}

fn wrong(name: &str, text: &str) -> Vec<String> {
    parse(Path::new(name), text, false).unwrap_err().lines
}

fn pcap(device: &str) -> PcapSettings {
    PcapSettings { device: Some(Pattern(device.to_owned())), ..PcapSettings::default() }
}

#[test]
fn the_file_of_the_article_works_unchanged() {
    let expected = Settings {
        polling: Duration::from_secs(10),
        sampling: Some(400),
        collectors: vec![Collector { host: "10.0.0.162".to_owned(), port: 6343, device: None }],
        docker: Some(DockerSettings::default()),
        pcap: vec![pcap("docker0"), pcap("docker_gwbridge")],
        ..Settings::default()
    };
    assert_eq!(conf(ARTICLE), expected);
    let one_line = ARTICLE.replace('\n', " ");
    assert_eq!(
        parse(Path::new("agent"), &one_line, false).unwrap().settings,
        expected,
        "the text says the form"
    );
    assert_eq!(expected.missing(), None);
}

#[test]
fn both_forms_say_the_same() {
    let of_hsflowd = conf(
        "# a comment\nsflow{ agent.CIDR=10.0.0.0/8 agent.cidr = fd00::/8; agent = eth0 agentIP = 10.1.2.3 # another {\n\
         polling=20 sampling=1000 sampling.100M=100 sampling.10G = 10000 sampling.bps_ratio=0 headerBytes=64 datagramBytes=1200\n\
         subAgent = 7 status = 127.0.0.1:8009 DNSSD = off uuid = 6571e19b-6571-519b-a571-e19b6571e19b\n\
         collector { ip=collector.example UDPPort=6344 dev = eth1 } collector{ip=2001:db8::1}\n\
         docker { hostname=on endpoint=tcp://10.0.0.1:2376 certificates=/tls markTraffic=on }\n\
         pcap { dev=\"veth*\" promisc=on sampling=10 } PCAP { speed=1G-1T promisc = off } }",
    );
    let text = "polling = 20\nsampling = 1000\nsampling_bps_ratio = 0\nheader_bytes = 64\ndatagram_bytes = 1200\nsub_agent = 7\n\
         status = '127.0.0.1:8009'\nuuid = '6571E19B6571519BA571E19B6571E19B'\n[sampling_by_speed]\n100M = 100\n10G = 10000\n\
         [agent]\naddress = '10.1.2.3'\ndevice = 'eth0'\nnetworks = ['10.0.0.0/8', 'fd00::/8']\n\
         [[collector]]\nhost = 'collector.example'\nport = 6344\ndevice = 'eth1'\n[[collector]]\nhost = '2001:db8::1'\n\
         [docker]\nendpoint = 'tcp://10.0.0.1:2376'\ncertificates = '/tls'\nhostname = true\n\
         [[pcap]]\ndevice = 'veth*'\npromiscuous = true\nsampling = 10\n[[pcap]]\nspeed = '1G-1T'\npromiscuous = false\n";
    let of_toml = parse(Path::new("agent"), text, false).unwrap().settings;
    assert_eq!(of_hsflowd, of_toml);
    assert_eq!(of_toml.agent.address, Some(IpAddr::from([10, 1, 2, 3])));
    assert_eq!(of_toml.uuid.unwrap()[..4], [0x65, 0x71, 0xe1, 0x9b]);
    assert_eq!(of_toml.sampling_by_speed.get(&100_000_000), Some(&100));
    assert_eq!(of_toml.docker.unwrap().certificates.as_deref(), Some(Path::new("/tls")));
    let speed = Speeds { least_bps: 1_000_000_000, most_bps: 1_000_000_000_000 };
    assert_eq!(of_toml.pcap.last().unwrap().speed, Some(speed));
}

#[test]
fn what_is_wrong_in_hsflowd_conf_has_its_line_and_column() {
    for (text, said) in [
        ("", "x.conf:1:1: \"sflow {\" is expected here, not the end"),
        ("snmp { }", "x.conf:1:1: \"sflow {\" is expected here, not \"snmp\""),
        ("sflow\n", "x.conf:2:1: an opening brace is expected after \"sflow\""),
        ("sflow {\n", "x.conf:2:1: the file ends within \"sflow {\": a closing brace is missing"),
        ("sflow {\n docker {\n", "x.conf:3:1: the file ends within \"docker {\": a closing brace is missing"),
        ("sflow { } }", "x.conf:1:11: nothing may follow the closing brace of \"sflow\", but there is \"}\""),
        (
            "sflow {\n  dnssd { }\n}",
            "x.conf:2:3: this agent has no module \"dnssd\"; remove it, or start with --ignore",
        ),
        ("sflow {\n KVM { x { } }\n}", "x.conf:2:2: this agent has no module \"KVM\"; remove it"),
        ("sflow { dokcer { } }", "x.conf:1:9: there is no module \"dokcer\": did you mean \"docker\"?"),
        (
            "sflow { wibble { } }",
            "x.conf:1:9: there is no module \"wibble\"; known are collector, docker, pcap",
        ),
        ("sflow { polling = ten }", "x.conf:1:19: polling: a number from 0 to 86400 is needed, not \"ten\""),
        ("sflow { sampling = 0 }", "x.conf:1:20: sampling: a number from 1 to 16777216 is needed, not \"0\""),
        (
            "sflow { samplng = 9 }",
            "x.conf:1:9: \"samplng\" is no setting of \"sflow\" that this agent has: did you",
        ),
        (
            "sflow { sampling.http = 50 }",
            "x.conf:1:9: \"sampling.http\" is no setting of \"sflow\" that this agent has",
        ),
        (
            "sflow { sampling.10X = 50 }",
            "x.conf:1:24: sampling.10X: \"10X\" is no speed, such as 100M or 10G",
        ),
        ("sflow { sampling.10G = x }", "x.conf:1:24: sampling.10G: a number from 1 to 16777216 is needed"),
        ("sflow { polling = }", "x.conf:1:19: polling: a value is missing after \"=\""),
        ("sflow { polling 10 }", "x.conf:1:9: \"=\" is missing between \"polling\" and \"10\""),
        ("sflow { poll }", "x.conf:1:9: \"poll\" is followed by neither \"= VALUE\" nor \"{\""),
        ("sflow { = 3 }", "x.conf:1:9: a name is expected here, not \"=\""),
        ("sflow { collector { } }", "x.conf:1:9: a collector has no address"),
        ("sflow { collector { ip = 0.0.0.0 } }", "x.conf:1:26: ip: 0.0.0.0 is nobody's address"),
        (
            "sflow { collector { ip = 10.0.0 } }",
            "x.conf:1:26: ip: \"10.0.0\" is neither an IP address nor a host",
        ),
        (
            "sflow { collector { ip = a udpport = 65536 } }",
            "x.conf:1:38: udpport: a number from 1 to 65535 is needed",
        ),
        (
            "sflow { collector { ip = a namespace = b } }",
            "x.conf:1:28: namespace: this agent sends from the network",
        ),
        ("sflow { pcap { } }", "x.conf:1:9: which interfaces? Name them by device or by speed"),
        ("sflow { pcap { speed = 10G-1G } }", "x.conf:1:24: speed: \"10G-1G\" is a range whose end is below"),
        ("sflow { pcap { dev = x/y } }", "x.conf:1:22: dev: \"x/y\" is no interface's name"),
        (
            "sflow { pcap { dev = a promisc = maybe } }",
            "x.conf:1:34: promisc: on or off is needed, not \"maybe\"",
        ),
        (
            "sflow { pcap { dev.pattern = eth.* } }",
            "x.conf:1:16: dev.pattern: regular expressions are not understood; write dev = PATTERN, where * stands",
        ),
        (
            "sflow { pcap { dev = a vport = on } }",
            "x.conf:1:24: \"vport\" is no setting of \"pcap\" that this agent",
        ),
        (
            "sflow { docker { endpoint = http://x } }",
            "x.conf:1:29: endpoint: \"http://x\" is no endpoint of an engine",
        ),
        (
            "sflow { docker { endpoint = tcp://x } }",
            "x.conf:1:9: tcp://x is reached over TLS: name the folder",
        ),
        (
            "sflow { docker { markTraffic = off } }",
            "x.conf:1:32: markTraffic: samples of containers' traffic always",
        ),
        ("sflow { uuid = 0123 }", "x.conf:1:16: uuid: \"0123\" is no identity of a host"),
        ("sflow { agentIP = eth0 }", "x.conf:1:19: agentIP: \"eth0\" is no IP address"),
        ("sflow { agent.cidr = 10.0.0.0/33 }", "x.conf:1:22: agent.cidr: \"10.0.0.0/33\" is no network"),
        ("sflow { é { } }", "x.conf:1:9: there is no module \"é\""),
    ] {
        let lines = wrong("x.conf", text);
        assert!(
            lines.iter().any(|line| line.starts_with(said)),
            "{text:?}\nexpected {said}\nsaid {lines:#?}"
        );
        assert_eq!(lines.len(), 1, "one mistake is told once: {text:?} {lines:#?}");
    }
    let several = wrong("x.conf", "sflow {\n polling = x\n collector { ip = ! }\n nvml { }\n}");
    assert_eq!(several.len(), 3, "{several:#?}");
}

#[test]
fn what_is_wrong_in_toml_has_its_line_and_column() {
    for (text, said) in [
        ("polling = 'ten'", "x.toml:1:11: polling: a number from 0 to 86400 is needed, not a text"),
        ("polling = -1", "x.toml:1:11: polling: a number from 0 to 86400 is needed"),
        (
            "pollling = 10",
            "x.toml:1:1: \"pollling\" is no table and no key of this file: did you mean \"polling\"?",
        ),
        (
            "\n[dokcer]\n",
            "x.toml:2:2: \"dokcer\" is no table and no key of this file: did you mean \"docker\"?",
        ),
        (
            "[docker]\nhostnam = true",
            "x.toml:2:1: \"hostnam\" is no key of [docker]: did you mean \"hostname\"?",
        ),
        (
            "[docker]\nxyzzy = true",
            "x.toml:2:1: \"xyzzy\" is no key of [docker]; known are certificates, endpoint, hostname",
        ),
        ("[docker]\nhostname = 'on'", "x.toml:2:12: docker.hostname: true or false is needed, not a text"),
        ("[collector]\nhost = 'a'", "x.toml:1:1: write [[collector]]: there may be several"),
        ("[[docker]]", "x.toml:1:1: write [docker]: there is but one"),
        ("docker = 1", "x.toml:1:10: docker is a table, [docker], not a number"),
        ("collector = [1]", "x.toml:1:14: collector are tables, [[collector]], not a number"),
        ("[[collector]]\nport = 1", "x.toml:1:1: a collector has no address"),
        (
            "[agent]\nnetworks = '10.0.0.0/8'",
            "x.toml:2:12: agent.networks: a list of texts is needed, not a text",
        ),
        (
            "[agent]\nnetworks = [1]",
            "x.toml:2:12: agent.networks: a list of texts is needed, not of a number",
        ),
        ("[agent]\naddress = '::'", "x.toml:2:11: agent.address: :: is nobody's own address"),
        ("status = 'localhost'", "x.toml:1:10: status: \"localhost\" is no address with a port"),
        ("[sampling_by_speed]\n10Q = 3", "x.toml:2:7: sampling_by_speed.10Q: \"10Q\" is no speed"),
        ("sampling_by_speed = 3", "x.toml:1:21: sampling_by_speed is a table"),
        (
            "[[pcap]]\ndevice = 'a-name-that-is-too-long'",
            "x.toml:2:10: pcap.device: \"a-name-that-is-too-long\" is no",
        ),
    ] {
        let lines = wrong("x.toml", text);
        assert!(
            lines.iter().any(|line| line.starts_with(said)),
            "{text:?}\nexpected {said}\nsaid {lines:#?}"
        );
    }
    assert!(wrong("x.toml", "polling = ")[0].starts_with("x.toml:1:11: "), "the parser's own errors too");
}

#[test]
fn modules_that_are_not_known_can_be_passed_over() {
    let text = "sflow {\n dns-sd { domain = .x }\n xen { a { b = 1 } }\n sampling.http = 5\n polling = 5\n \
                collector { ip = 10.0.0.1 }\n}\n";
    let read = parse(Path::new("x.conf"), text, true).unwrap();
    assert_eq!(read.settings.polling, Duration::from_secs(5));
    assert_eq!(read.settings.collectors.len(), 1);
    assert_eq!(read.warnings.len(), 3);
    assert!(
        read.warnings[0].starts_with("x.conf:2:2: this agent has no module \"dns-sd\""),
        "{:?}",
        read.warnings
    );
    assert!(read.warnings[1].starts_with("x.conf:3:2: "));
    assert!(read.warnings[2].starts_with("x.conf:4:2: "));
    assert_eq!(wrong("x.conf", text).len(), 3);
    let text = "sflow { docker { markTraffic = off } collector { ip = a } }";
    assert_eq!(parse(Path::new("x.conf"), text, true).unwrap().warnings.len(), 1);
    let text = "sflow { collector { ip = a namespace = b } }";
    let lines = parse(Path::new("x.conf"), text, true).unwrap_err().lines;
    assert!(lines[0].contains("namespace"), "datagrams would not arrive: {lines:?}");
}

#[test]
fn lists_have_ends() {
    let many = "collector { ip = a }".repeat(keys::MOST_COLLECTORS + 1);
    assert!(
        wrong("x.conf", &format!("sflow {{ {many} }}"))[0].ends_with("at most 16 collectors can be given")
    );
    let many = "pcap { dev = a }".repeat(keys::MOST_PCAPS + 1);
    assert!(
        wrong("x.conf", &format!("sflow {{ {many} }}"))[0].ends_with("at most 64 pcap sections can be given")
    );
    let many = "agent.cidr = 10.0.0.0/8 ".repeat(keys::MOST_LISTED + 1);
    assert!(wrong("x.conf", &format!("sflow {{ {many} }}"))[0].ends_with("at most 64 networks can be given"));
    let many = "x = 1 ".repeat(1000);
    let lines = wrong("x.conf", &format!("sflow {{ {many} }}"));
    assert_eq!((lines.len(), lines.last().unwrap().as_str()), (101, "x.conf: and 900 more"));
    let deep = format!("sflow {{ x {}", "{ ".repeat(100_000));
    assert!(!wrong("x.conf", &deep).is_empty(), "depth costs no stack");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = read(Path::new("/nonexistent/agent.toml"), false).unwrap_err().to_string();
    assert!(error.starts_with("/nonexistent/agent.toml: cannot be read: "), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.toml");
    std::fs::write(&path, vec![b' '; usize::try_from(file::LARGEST).unwrap() + 1]).unwrap();
    assert!(read(&path, false).unwrap_err().to_string().contains("is longer than the 1048576 bytes"));
    std::fs::write(&path, b"polling = 1 \xff").unwrap();
    assert!(read(&path, false).unwrap_err().to_string().contains("is not UTF-8 text at byte 12"));
    std::fs::write(
        &path,
        b"[[collector]]\nhost = 'a'\n[docker]\nendpoint = 'https://a'\ncertificates = 'tls'",
    )
    .unwrap();
    let settings = read(&path, false).unwrap().settings;
    assert_eq!(settings.docker.unwrap().certificates, Some(folder.path().join("tls")));
}

#[test]
fn the_manual_has_every_key() {
    let manual = include_str!("../../../manual/agent.md");
    for key in keys::KEYS {
        assert!(manual.contains(&format!("`{}`", key.toml)), "manual/agent.md lacks `{}`", key.toml);
        let row = manual.lines().any(|line| {
            let line = line.to_ascii_lowercase();
            line.contains(&format!("`{}`", key.toml)) && line.contains(&format!("`{}`", key.hsflowd))
        });
        assert!(row, "manual/agent.md does not say that {} is {} in hsflowd.conf", key.toml, key.hsflowd);
    }
}

#[test]
fn an_agent_without_a_collector_says_so() {
    assert!(conf("sflow { }").missing().unwrap().contains("no collector"));
}

#[test]
fn patterns_fit_names() {
    for (pattern, name, fit) in [
        ("docker0", "docker0", true),
        ("docker0", "docker01", false),
        ("docker0", "docker", false),
        ("veth*", "veth1a2b", true),
        ("veth*", "eth0", false),
        ("*", "", true),
        ("*gw*", "docker_gwbridge", true),
        ("br-????", "br-12ab", true),
        ("br-????", "br-12a", false),
        ("*a*b", "aXbaYb", true),
        ("*a*b", "aXbaY", false),
        ("", "", true),
        ("", "x", false),
    ] {
        assert_eq!(Pattern(pattern.to_owned()).fits(name), fit, "{pattern} {name}");
    }
}

#[test]
fn a_speed_alone_means_network_cards() {
    let ten = Some(10_000_000_000);
    let settings = conf("sflow { pcap { speed = 1G- } pcap { dev = veth* speed = 1G- } }");
    let [by_speed, by_both] = &settings.pcap[..] else { panic!("{settings:?}") };
    for (kind, speed_bps, fits) in [
        (Kind::Physical, ten, true),
        (Kind::Physical, Some(100_000_000), false),
        (Kind::Physical, None, false),
        (Kind::Veth, ten, false),
        (Kind::Bridge, ten, false),
        (Kind::Bond, ten, false),
        (Kind::Vlan, ten, false),
    ] {
        assert_eq!(by_speed.fit("veth0", kind, speed_bps), fits, "{kind:?} {speed_bps:?}");
    }
    assert!(by_both.fit("veth0", Kind::Veth, ten) && !by_both.fit("eth0", Kind::Physical, ten));
    assert!(!PcapSettings::default().fit("eth0", Kind::Physical, ten));
}

#[test]
fn the_most_particular_rate_holds() {
    let mut settings = Settings::default();
    let mut pcap = PcapSettings::default();
    let gbit = Some(1_000_000_000);
    assert_eq!(settings.rate(&pcap, gbit), 1_000);
    assert_eq!(settings.rate(&pcap, None), 10_000);
    assert_eq!(settings.rate(&pcap, Some(10_000_000)), 100, "a tap says 10 Mbit/s whatever it carries");
    settings.sampling = Some(400);
    assert_eq!(settings.rate(&pcap, gbit), 400);
    settings.sampling_by_speed.insert(1_000_000_000, 77);
    assert_eq!(settings.rate(&pcap, gbit), 77);
    assert_eq!(settings.rate(&pcap, None), 400);
    settings.bps_ratio = Some(500_000);
    assert_eq!(settings.rate(&pcap, gbit), 77);
    assert_eq!(
        settings.rate(&pcap, Some(10_000_000)),
        20,
        "a ratio that was said comes before one rate for all"
    );
    assert_eq!(settings.rate(&pcap, None), 400);
    settings.bps_ratio = Some(0);
    assert_eq!(settings.rate(&pcap, Some(10_000_000)), 400);
    settings.sampling = None;
    assert_eq!(settings.rate(&pcap, Some(10_000_000)), 400, "as hsflowd's default");
    pcap.sampling = Some(5);
    assert_eq!(settings.rate(&pcap, gbit), 5);
}

/// What hsflowd's own container writes, by its default and with `NET=host`, and what stands in published files.
#[test]
fn files_that_hsflowd_takes_are_taken() {
    let settings = conf(
        "sflow {\n sampling=1000\n sampling.bps_ratio=0\n polling=30\n collector { ip=10.0.0.1 udpport=6343 }\n \
         collector { ip=10.0.0.2 udpport=6343 }\n docker { }\n pcap { dev=docker0 }\n pcap { dev=docker_gwbridge }\n}\n",
    );
    assert_eq!(settings.rate(&settings.pcap[0], Some(10_000_000_000)), 1000);
    assert_eq!((settings.collectors.len(), settings.docker.is_some()), (2, true));
    let settings = conf(
        "sFlow {\n counterPollingInterval = 20\n packetSamplingRate = 1K\n subAgentId = 7 sampling.10G = 10k\n \
         refreshAdaptors=60 checkAdaptors=5 refreshVMs=60 forgetVMs=180 loopback=on samplingDirection=both\n \
         docker { refreshVMs=60 forgetVMs = 60 } collector { ip = a } }",
    );
    assert_eq!((settings.polling, settings.sampling), (Duration::from_secs(20), Some(1000)));
    assert_eq!((settings.sub_agent, settings.sampling_by_speed.get(&10_000_000_000)), (7, Some(&10_000)));
}

#[test]
fn examples_of_manual_and_package_are_right() {
    let manual = include_str!("../../../manual/agent.md");
    let block =
        |form: &str| manual.split(&format!("```{form}\n")).nth(1).unwrap().split("```").next().unwrap();
    let of_hsflowd = conf(block("conf"));
    let of_toml = parse(Path::new("x.toml"), block("toml"), false).unwrap().settings;
    assert_eq!(of_hsflowd, of_toml);
    assert_eq!(of_hsflowd, conf(ARTICLE));
    let packaged = include_str!("../../../packaging/finderscope-agent.toml");
    let settings = parse(Path::new("x.toml"), packaged, false).unwrap().settings;
    assert_eq!((settings.missing(), settings.docker), (None, Some(DockerSettings::default())));
    // And with every line in force that is commented out.
    let whole: String = packaged
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").filter(|bare| bare.contains(" = ") || bare.starts_with("[["));
            format!("{}\n", bare.unwrap_or(line))
        })
        .collect();
    assert_eq!(parse(Path::new("x.toml"), &whole, false).unwrap().settings.pcap, [pcap("docker0")]);
}

#[test]
fn the_manual_s_table_of_rates_is_the_rule() {
    let manual = include_str!("../../../manual/agent.md");
    let settings = Settings::default();
    for (speed_bps, shown) in [
        (Some(100_000_000), "| 100 Mbit/s and less | 100 |"),
        (Some(1_000_000_000), "| 1 Gbit/s | 1,000 |"),
        (Some(10_000_000_000), "| 10 Gbit/s | 10,000 |"),
        (Some(25_000_000_000), "| 25 Gbit/s | 25,000 |"),
        (Some(100_000_000_000), "| 100 Gbit/s | 100,000 |"),
        (None, "| not known | 10,000 |"),
    ] {
        assert!(manual.contains(shown));
        let rate: String = shown.rsplit(" | ").next().unwrap().chars().filter(char::is_ascii_digit).collect();
        assert_eq!(settings.rate(&PcapSettings::default(), speed_bps).to_string(), rate);
    }
}
