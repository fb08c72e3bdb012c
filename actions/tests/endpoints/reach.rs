//! Where a client goes when a script says where.

use std::net::IpAddr;

use actions::http::hyper::Method;
use actions::http::{Client, Credentials, Error, Options, Reach, Secret, Url};

use crate::server::{Server, answer};

/// Lets through what names this port.
fn only(port: u16) -> Options {
    let check = move |url: &Url, _: Option<IpAddr>| {
        if url.port() == port { Ok(()) } else { Err(format!("port {} is not allowed", url.port())) }
    };
    Options { reach: Some(Reach::new(check)), ..Options::default() }
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[tokio::test]
async fn a_redirect_is_followed_only_where_the_reach_goes() {
    let other = Server::start(vec![answer(200, "", "there")], None).await;
    let location = format!("location: http://{}/x\r\n", other.address);
    let server =
        Server::start(vec![answer(302, "location: /here\r\n", ""), answer(302, &location, "")], None).await;
    let own = server.address.port();
    let client = Client::new(url(&format!("http://127.0.0.1:{own}/")), only(own));
    let error = client.get(&[]).await.unwrap_err();
    let wanted = format!(
        "http://127.0.0.1:{own}/here: it leads to http://127.0.0.1:{0}: port {0} is not allowed",
        other.address.port()
    );
    assert_eq!((error.label(), error.to_string()), ("redirect", wanted));
    assert_eq!((server.asked().len(), other.connections()), (2, 0));
    let client = Client::new(url(&format!("http://127.0.0.1:{}/", other.address.port())), only(own));
    let error = client.request(Method::POST, "/", &[], Vec::new()).await.unwrap_err();
    assert!(matches!(error, Error::Request { .. }) && !error.may_have_arrived(), "{error}");
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn the_address_that_is_connected_to_is_the_one_that_was_decided_on() {
    let server = Server::start(vec![answer(200, "", "there")], None).await;
    let check = |_: &Url, address: Option<IpAddr>| match address {
        Some(address) if address.is_loopback() => Err(format!("{address} is this host")),
        _ => Ok(()),
    };
    let options = Options { reach: Some(Reach::new(check)), ..Options::default() };
    // A name that the resolver leads to this host.
    let client = Client::new(url(&format!("http://localhost:{}/", server.address.port())), options.clone());
    let error = client.get(&[]).await.unwrap_err();
    assert!(error.label() == "connect" && error.to_string().ends_with("is this host"), "{error}");
    assert_eq!(server.connections(), 0);
    for forbidden in ["http://169.254.169.254/latest", "http://[::ffff:a9fe:a9fe]/", "http://0.0.0.0/"] {
        let options = Options { reach: Some(Reach::new(|_, _| Ok(()))), ..Options::default() };
        let error = Client::new(url(forbidden), options).get(&[]).await.unwrap_err().to_string();
        assert!(error.contains("which is never asked"), "{error}");
    }
}

#[tokio::test]
async fn what_is_for_one_origin_is_not_said_to_another() {
    let other = Server::start(vec![answer(200, "", "there")], None).await;
    let location = format!("location: http://{}/x\r\n", other.address);
    let server = Server::start(vec![answer(302, &location, "")], None).await;
    let credentials = Credentials::Given { user: Secret::new("me"), password: Secret::new("geheim") };
    let options = Options { credentials, reach: Some(Reach::new(|_, _| Ok(()))), ..Options::default() };
    let client = Client::new(url(&format!("http://{}/", server.address)), options);
    let headers = [("Cookie", "geheim=1"), ("X-Mine", "yes"), ("User-Agent", "mine")];
    assert_eq!(client.get(&headers).await.unwrap().body, b"there");
    let (first, second) = (server.asked().remove(0), other.asked().remove(0));
    assert!(
        first.contains("authorization: Basic bWU6Z2VoZWlt\r\n") && first.contains("cookie: geheim=1\r\n")
    );
    assert!(!second.contains("geheim") && !second.contains("authorization"), "{second}");
    for request in [first, second] {
        assert!(request.contains("x-mine: yes\r\n") && request.contains("user-agent: mine\r\n"), "{request}");
        assert!(!request.contains("finderscope"), "{request}");
    }
}
