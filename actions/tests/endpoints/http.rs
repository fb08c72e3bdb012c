//! The client against servers that answer well, badly, slowly or not at all.
use std::time::{Duration, Instant};

use crate::private;
use crate::server::{Piece, Server, answer};
use actions::http::hyper::Method;
use actions::http::{Client, Credentials, Error, Options, Url};

fn url(server: &Server, path: &str) -> Url {
    Url::parse(&format!("http://{}{path}", server.address)).unwrap()
}

fn client(server: &Server, path: &str) -> Client {
    Client::new(url(server, path), Options::default())
}

#[tokio::test]
async fn a_connection_is_kept_and_a_closed_one_replaced() {
    let mut closing = answer(200, "", "two");
    closing.push(Piece::Close);
    let server = Server::start(
        vec![answer(202, "warning: 199 - x\r\n", "one"), closing, answer(200, "", "three")],
        None,
    )
    .await;
    let client = client(&server, "/acl");
    let put =
        client.request(Method::PUT, "/acl/a?b", &[("content-type", "application/json")], b"[]".to_vec());
    let first = put.await.unwrap();
    assert_eq!(
        (first.status, &*first.body, first.header("Warning"), first.framed),
        (202, &b"one"[..], Some("199 - x"), true)
    );
    assert_eq!(client.get(&[]).await.unwrap().body, b"two");
    assert_eq!(server.connections(), 1);
    assert_eq!(client.get(&[]).await.unwrap().body, b"three");
    assert_eq!(server.connections(), 2);
    let asked = server.asked();
    let head = asked[0].to_ascii_lowercase();
    assert!(head.starts_with("put /acl/a?b http/1.1\r\n") && head.ends_with("\r\n\r\n[]"), "{head}");
    assert!(
        head.contains(&format!("host: {}\r\n", server.address))
            && head.contains("accept-encoding: identity\r\n")
    );
    assert!(asked[1].starts_with("GET /acl HTTP/1.1"));
}

#[tokio::test]
async fn who_we_are_is_said_and_only_to_whom_it_is_meant_for() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    private(&token_file, "geheim\n");
    let other = Server::start(vec![answer(200, "", "there")], None).await;
    let location = format!("location: http://{}/x\r\n", other.address);
    let server =
        Server::start(vec![answer(302, "location: here\r\n", ""), answer(301, &location, "")], None).await;
    let options = Options { credentials: Credentials::Bearer { token_file }, ..Options::default() };
    let client = Client::new(url(&server, "/lists/one"), options);
    let found = client.get(&[("if-none-match", "\"e\"")]).await.unwrap();
    assert_eq!((&*found.body, found.url.to_string()), (&b"there"[..], format!("http://{}/x", other.address)));
    let (own, foreign) = (server.asked(), other.asked());
    assert!(own.iter().all(|request| request.contains("authorization: Bearer geheim\r\n")));
    assert!(own[1].starts_with("GET /lists/here "));
    assert!(!foreign[0].contains("geheim") && foreign[0].contains("if-none-match: \"e\"\r\n"));
    let gone = Credentials::Bearer { token_file: folder.path().join("none") };
    let client = Client::new(url(&server, "/"), Options { credentials: gone, ..Options::default() });
    assert_eq!(client.get(&[]).await.unwrap_err().label(), "file");
}

#[tokio::test]
async fn redirects_have_an_end_and_are_for_reading_only() {
    let server = Server::start(vec![answer(302, "location: /again\r\n", "")], None).await;
    let error = client(&server, "/").get(&[]).await.unwrap_err();
    assert!(matches!(&error, Error::Redirect { why, .. } if why.contains("more than 5")), "{error}");
    assert_eq!(server.asked().len(), 6);
    let put = client(&server, "/").request(Method::PUT, "/", &[], Vec::new()).await.unwrap();
    assert_eq!(put.status, 302);
    for location in [
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "http://user:pw@10.0.0.1/",
        "http://[::ffff:169.254.169.254]/",
    ] {
        let server = Server::start(vec![answer(302, &format!("location: {location}\r\n"), "")], None).await;
        let began = Instant::now();
        let error = client(&server, "/").get(&[]).await.unwrap_err().to_string();
        assert!(error.contains("leads") && !error.contains("pw@"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test]
async fn answers_that_are_too_long_or_encoded_or_cut_are_errors() {
    let small = |path| {
        move |server: &Server| {
            Client::new(url(server, path), Options { body_bytes: 100, ..Options::default() })
        }
    };
    let long = "x".repeat(101);
    let chunked = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n40\r\n".to_owned() + &"y".repeat(64);
    let endless = vec![
        Piece::Bytes(chunked.clone().into_bytes()),
        Piece::Bytes(format!("\r\n40\r\n{}\r\n", "y".repeat(64)).into_bytes()),
    ];
    let cut = |text: &str| vec![Piece::Bytes(text.as_bytes().to_vec()), Piece::Close];
    for (pieces, label) in [
        (answer(200, "", &long), "too_long"),
        (endless, "too_long"),
        (answer(200, "content-encoding: gzip\r\n", "x"), "encoded"),
        (cut("HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\nhalf"), "lost"),
        (cut(&chunked), "lost"),
        (cut("HTTP/1.1 2"), "lost"),
        (cut("220 smtp.example.net ready\r\n"), "lost"),
        (cut(&format!("HTTP/1.1 200 X\r\nx: {}\r\n\r\n", "h".repeat(1 << 20))), "lost"),
    ] {
        let server = Server::start(vec![pieces], None).await;
        let error = small("/secret?key=geheim")(&server).get(&[]).await.unwrap_err();
        assert_eq!(error.label(), label, "{error}");
        assert!(!error.to_string().contains("geheim") && error.may_have_arrived());
    }
    let server = Server::start(vec![cut("HTTP/1.1 200 X\r\nconnection: close\r\n\r\nwho knows")], None).await;
    let answer = client(&server, "/").get(&[]).await.unwrap();
    assert!(!answer.framed, "nobody can tell whether that was all");
}

#[tokio::test]
async fn a_call_ends_in_time_whatever_the_other_side_does() {
    let options = Options {
        connect: Duration::from_millis(200),
        call: Duration::from_millis(400),
        path_is_secret: true,
        ..Options::default()
    };
    let mut drip = vec![Piece::Bytes(b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n".to_vec())];
    for _ in 0..100 {
        drip.extend([Piece::Bytes(b"z".to_vec()), Piece::Pause(Duration::from_millis(50))]);
    }
    for pieces in [vec![Piece::Pause(Duration::from_secs(60))], drip] {
        let server = Server::start(vec![pieces, answer(200, "", "well")], None).await;
        let client = Client::new(url(&server, "/services/T0/geheim"), options.clone());
        let began = Instant::now();
        let error = client.get(&[]).await.unwrap_err();
        assert!(matches!(error, Error::Time { .. }) && !error.to_string().contains("geheim"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2));
        assert_eq!(client.get(&[]).await.unwrap().body, b"well", "what was cut short is not in the way");
    }
    // Nobody accepts on a socket whose queue is full; nobody listens on a port that was closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = Client::new(Url::parse(&format!("http://127.0.0.1:{port}/")).unwrap(), options);
    let error = client.get(&[]).await.unwrap_err();
    assert!(error.label() == "connect" && !error.may_have_arrived(), "{error}");
}
