//! Drivers by themselves: TLS and authentication against the real ACL server, answers that make no sense, and NVUE.

use actions::capture::config::{Raw, Switch};
use actions::capture::drivers::{Driver, Trouble};
use actions::capture::wanted::{Change, Found, Interest, Wanted};
use serde_json::{Value as Json, json};

use super::support::acl_server::AclServer;
use super::support::http::Server;
use super::support::nvue::Nvue;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn switch(url: &str, more: Json) -> Switch {
    let mut json = json!({"agent": "10.0.0.253", "url": url});
    json.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(json).unwrap()
}

fn wanted(host: u8, ports: &[&str]) -> (String, Wanted) {
    let wanted = Wanted {
        local: [10, 0, 0, host].into(),
        remote: [192, 0, 2, 1].into(),
        erspan_source: [10, 0, 0, 253].into(),
        analyzer: [10, 0, 0, 70].into(),
        interfaces: ports.iter().map(|port| (*port).to_owned()).collect(),
        policy: "emerging".to_owned(),
    };
    (format!("fs_main_10_0_0_{host}_192_0_2_1"), wanted)
}

fn put(host: u8, ports: &[&str]) -> Change {
    let (name, wanted) = wanted(host, ports);
    Change::Put(name, wanted)
}

#[test]
fn tls_and_basic_authentication_with_the_real_server() {
    let folder = tempfile::tempdir().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(
        {
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters
        },
        rcgen::KeyPair::generate().unwrap(),
    )
    .unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let of_server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = of_server.signed_by(&key, &authority).unwrap();
    let file = |name: &str, text: &str| {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = folder.path().join(name);
        let mut open = std::fs::OpenOptions::new();
        let mut file = open.create_new(true).write(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        path.display().to_string()
    };
    let (cert, key) = (file("cert.pem", &certificate.pem()), file("key.pem", &key.serialize_pem()));
    let (ca, token, other) =
        (file("ca.pem", &authority.pem()), file("token", "sesame-sesame-sesame\n"), file("other", "no\n"));
    let server = AclServer::start(&["--tls-cert", &cert, "--tls-key", &key, "--token-file", &token]);
    let url = format!("https://{}/acl", server.address);
    let right = switch(&url, json!({"ca": ca, "user": "collector", "password_file": token}));
    block_on(async {
        let mut driver = Driver::new(&right, "main").unwrap();
        assert_eq!(driver.apply(&[put(162, &["swp+"])]).await, [Ok(())]);
        let reading = driver.read(&Interest::default()).await.unwrap();
        let (name, wanted) = wanted(162, &["swp+"]);
        assert_eq!(reading.observed, [(name, Found::Ours(wanted))].into());
        for (more, said) in [
            (json!({"ca": ca, "user": "collector", "password_file": other}), "401"),
            (json!({"ca": ca}), "401"),
            (json!({"ca": cert, "user": "collector", "password_file": token}), "not signed by an authority"),
        ] {
            let why = Driver::new(&switch(&url, more), "main")
                .unwrap()
                .read(&Interest::default())
                .await
                .unwrap_err();
            assert!(why.contains(said) && !why.contains("sesame"), "{why}");
        }
        let bearer = switch(&url, json!({"ca": ca, "token_file": token}));
        assert!(Driver::new(&bearer, "main").unwrap().read(&Interest::default()).await.is_ok());
    });
}

#[test]
fn answers_that_make_no_sense_are_errors_and_nothing_else() {
    let json = |body: &str| (200, "Content-Type: application/json\r\n".to_owned(), body.to_owned());
    let deep = "[".repeat(100_000);
    for body in ["", "<html>", "{}", "[1]", "null", "[\"fs_main_10_0_0_5_192_0_2_5\"", &deep] {
        let body = body.to_owned();
        let server = Server::start(move |_| json(&body));
        let url = format!("http://{}/acl", server.address);
        let why = block_on(Driver::new(&switch(&url, json!({})), "main").unwrap().read(&Interest::default()))
            .unwrap_err();
        assert!(why.contains("list of names") && why.len() < 1000, "{why}");
    }
    // Names are never asked for that are not ours, whatever they are.
    let names =
        ["../../etc/passwd", "fs_main_x", "a\r\nX: y", "fs_main_10_0_0_5_192_0_2_5?x", "lasterror", ""];
    let server = Server::start(move |request| match request.path.as_str() {
        "/acl" => (200, String::new(), json!(names).to_string()),
        _ => (204, String::new(), String::new()),
    });
    let url = format!("http://{}/acl", server.address);
    let reading =
        block_on(Driver::new(&switch(&url, json!({})), "main").unwrap().read(&Interest::default())).unwrap();
    assert!(reading.observed.is_empty() && reading.failing.is_none());
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/acl", "/acl/lasterror"]);
}

#[test]
fn what_is_refused_and_what_is_not_there_are_told_apart() {
    for (status, refused) in
        [(400, true), (406, true), (507, true), (401, false), (403, false), (500, false), (503, false)]
    {
        let server = Server::start(move |_| (status, String::new(), "\"why\nnot\"".to_owned()));
        let url = format!("http://{}/acl", server.address);
        let mut driver = Driver::new(&switch(&url, json!({})), "main").unwrap();
        let done = block_on(driver.apply(&[put(1, &["swp+"]), put(2, &["swp+"])]));
        assert_eq!(done.len(), if refused { 2 } else { 1 }, "{status}: what does not answer is left alone");
        let is_refused = matches!(&done[0], Err(Trouble::Refused(why)) if why.contains("why\\nnot"));
        assert_eq!(is_refused, refused, "{status}: {done:?}");
    }
    let odd = Wanted { interfaces: vec!["swp+ -j DROP".to_owned()], ..wanted(1, &[]).1 };
    let server = Server::start(|_| (202, String::new(), String::new()));
    let url = format!("http://{}/acl", server.address);
    let done = block_on(
        Driver::new(&switch(&url, json!({})), "main").unwrap().apply(&[Change::Put("fs_x".into(), odd)]),
    );
    assert!(matches!(done[0], Err(Trouble::Refused(_))) && server.requests().is_empty());
}

#[test]
fn nvue_takes_all_changes_in_one_revision_and_is_read_back() {
    let nvue = Nvue::start();
    let own = switch(&nvue.url(), json!({"driver": "cumulus-nvue", "ports": ["swp1", "swp2"]}));
    block_on(async {
        let mut driver = Driver::new(&own, "main").unwrap();
        assert!(driver.read(&Interest::default()).await.unwrap().observed.is_empty());
        let ports = ["swp1", "swp2"];
        assert_eq!(driver.apply(&[put(1, &ports), put(2, &ports)]).await, [Ok(()), Ok(())]);
        assert_eq!(nvue.revisions(), 1);
        let found = |host| {
            let (name, wanted) = wanted(host, &ports);
            (name, Found::Ours(wanted))
        };
        assert_eq!(driver.read(&Interest::default()).await.unwrap().observed, [found(1), found(2)].into());
        let applied = nvue.applied();
        let rule = &applied["acl"]["fs_main_10_0_0_1_192_0_2_1"]["rule"]["10"];
        assert_eq!(rule["match"]["ip"], json!({"source-ip": "10.0.0.1/32", "dest-ip": "192.0.2.1/32"}));
        assert_eq!(
            rule["action"]["erspan"],
            json!({"source-ip": "10.0.0.253", "dest-ip": "10.0.0.70", "ttl": 64})
        );
        assert_eq!(applied["interface"]["swp2"]["acl"].as_object().unwrap().len(), 3, "what was there stays");
        // Another port, and one goes.
        let change = [put(1, &["swp1", "swp3"]), Change::Delete(wanted(2, &[]).0)];
        assert_eq!(driver.apply(&change).await, [Ok(()), Ok(())]);
        let applied = nvue.applied();
        assert_eq!(applied["acl"].as_object().unwrap().len(), 1);
        assert_eq!(applied["interface"]["swp2"], json!({"acl": {"own": {"inbound": {}}}}));
        let (name, now) = wanted(1, &["swp1", "swp3"]);
        assert_eq!(
            driver.read(&Interest::default()).await.unwrap().observed,
            [(name.clone(), Found::Ours(now))].into()
        );
        // A person changes it; another instance and a person have lists of theirs.
        nvue.edit(|applied| {
            applied["acl"][&name]["rule"]["20"]["action"] = json!({"permit": {}});
            applied["acl"]["fs_other_10_0_0_7_192_0_2_7"] = json!({"type": "ipv4"});
            applied["acl"]["fs_main_10_0_0_8_192_0_2_8"] = json!({"type": "ipv4"});
            applied["acl"]["own"] = json!({"type": "ipv4"});
        });
        let observed = driver.read(&Interest::default()).await.unwrap().observed;
        assert_eq!(
            observed.into_iter().collect::<Vec<_>>(),
            [
                (name, Found::Changed),
                ("fs_main_10_0_0_8_192_0_2_8".to_owned(), Found::Unmarked),
                ("fs_other_10_0_0_7_192_0_2_7".to_owned(), Found::Others),
            ]
        );
        // What is gone already is no error.
        assert_eq!(driver.apply(&[Change::Delete(wanted(9, &[]).0)]).await, [Ok(())]);
    });
}

#[test]
fn nvue_says_what_it_does_not_take_and_the_others_are_taken() {
    let nvue = Nvue::start();
    let own = switch(&nvue.url(), json!({"driver": "cumulus-nvue", "ports": ["swp1"]}));
    block_on(async {
        let mut driver = Driver::new(&own, "main").unwrap();
        for (state, issue) in [("invalid", "no TCAM\nleft"), ("ays_fail", "sure?")] {
            nvue.fail(Some((state, issue)));
            let done = driver.apply(&[put(1, &["swp1"])]).await;
            let Err(Trouble::Refused(why)) = &done[0] else { panic!("{done:?}") };
            assert!(why.contains(state) && why.contains(&issue.replace('\n', "\\n")), "{why}");
        }
        nvue.fail(None);
        assert_eq!(nvue.applied()["acl"], json!({}));
        nvue.refuse(&wanted(2, &[]).0);
        let done = driver.apply(&[put(1, &["swp1"]), put(2, &["swp1"]), put(3, &["swp1"])]).await;
        assert!(matches!(&done[..], [Ok(()), Err(Trouble::Refused(_)), Ok(())]), "{done:?}");
        assert_eq!(driver.read(&Interest::default()).await.unwrap().observed.len(), 2);
    });
    let raw: Raw =
        serde_json::from_value(json!({"switch": [{"agent": "10.0.0.1", "url": "https://x y/acl"}]})).unwrap();
    let config = raw.check().unwrap();
    assert!(Driver::new(&config.switches[0], "main").is_err());
}
