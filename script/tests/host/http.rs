//! What scripts ask over HTTP, of a server on a thread of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use script::Own;
use serde_json::{Value as Json, json};

use crate::support::{Host, until};

/// Answers each request with what it was asked, as JSON; `/STATUS` with that status, `/slow` after a moment.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let own = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        server
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut bytes = Vec::new();
        loop {
            let head = loop {
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end + 4;
                }
                read(&mut stream, &mut bytes)?;
            };
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let header = |name: &str| {
                let found = |line: &str| {
                    let (own, value) = line.split_once(": ")?;
                    own.eq_ignore_ascii_case(name).then(|| value.to_owned())
                };
                text.lines().find_map(found)
            };
            let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
            while bytes.len() < head + length {
                read(&mut stream, &mut bytes)?;
            }
            let body = String::from_utf8(bytes[head..head + length].to_vec()).unwrap();
            bytes.drain(..head + length);
            let line = text.lines().next().unwrap().strip_suffix(" HTTP/1.1").unwrap().to_owned();
            self.asked.lock().unwrap().push(line.clone());
            let path = line.split(' ').nth(1).unwrap();
            if path == "/slow" {
                std::thread::sleep(Duration::from_millis(30));
            }
            let status: u16 = path[1..].parse().unwrap_or(200);
            let answer = json!({
                "line": line, "type": header("content-type"), "accept": header("accept"),
                "authorization": header("authorization"), "body": body,
            })
            .to_string();
            let answer = if status == 200 { answer } else { format!("status {status}") };
            let head = format!(
                "HTTP/1.1 {status} X\r\nX-Mine: 1\r\nx-mine: 2\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            stream.write_all((head + &answer).as_bytes()).ok()?;
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    let many = stream.read(&mut piece).ok().filter(|many| *many > 0)?;
    bytes.extend_from_slice(&piece[..many]);
    Some(())
}

/// A script that may ask this server, whose text has `URL` for its address; what it answers.
fn answered(server: &Server, text: &str) -> Json {
    let text = text.replace("URL", &format!("http://{}", server.address));
    let host = Host::with(&[("asks.js", &text)], |config| {
        config.allow = vec![server.address.to_string().parse().unwrap()];
    });
    host.get("asks.js")
}

#[test]
fn http_reads_and_writes_and_throws_what_is_no_success() {
    let server = Server::start();
    let said = answered(
        &server,
        "var all = {};\n\
         all.get = JSON.parse(http('URL/a b?c=d'));\n\
         all.login = JSON.parse(http('URL/', 'get', 'me', 'pw', 'text/csv'));\n\
         all.put = JSON.parse(http('URL/rules/emrg0', 'PUT', 'application/json', JSON.stringify(['ü'])));\n\
         all.post = JSON.parse(http('URL/', 'post', null, {a: 1}, 'me', 'pw', 'text/plain'));\n\
         all.gone = JSON.parse(http('URL/', 'Delete'));\n\
         all.errors = [];\n\
         [['URL/404'], ['URL/302', 'put'], ['https://10.0.0.134:2376/services/apache'], ['URL/', 'trace'], []]\n\
           .forEach(function(a) { try { http.apply(null, a); } catch (e) { all.errors.push(String(e)); } });\n\
         setHttpHandler(function() { return all; });",
    );
    assert_eq!(said["get"]["line"], "GET /a%20b?c=d");
    assert_eq!(
        (&said["login"]["authorization"], &said["login"]["accept"]),
        (&json!("Basic bWU6cHc="), &json!("text/csv"))
    );
    let put = json!({
        "line": "PUT /rules/emrg0", "type": "application/json", "accept": null, "authorization": null, "body": "[\"ü\"]",
    });
    assert_eq!(said["put"], put);
    let post = json!({
        "line": "POST /", "type": "application/json", "accept": "text/plain", "authorization": "Basic bWU6cHc=",
        "body": "{\"a\":1}",
    });
    assert_eq!((&said["post"], &said["gone"]["line"]), (&post, &json!("DELETE /")));
    let url = format!("http://{}", server.address);
    let errors = json!([
        format!("Error: http: {url}/404: 404: status 404"),
        format!("Error: http: {url}/302: 302: status 302"),
        "Error: http: 10.0.0.134:2376 is not allowed; --allow 10.0.0.134:2376 lets scripts reach it",
        "Error: http: \"trace\" is no method: get, put, post, delete, patch, head or options",
        "Error: http: url is missing",
    ]);
    assert_eq!(said["errors"], errors);
}

#[test]
fn http2_gives_any_answer_and_throws_where_there_is_none() {
    let server = Server::start();
    let said = answered(
        &server,
        "var all = {};\n\
         all.gone = http2({url: 'URL/404', operation: 'get'});\n\
         all.post = http2({url: 'URL/', method: 'POST', headers: {'Content-Type': 'text/x'}, body: 'b', user: 'me', password: 'pw'});\n\
         all.list = http2({url: 'URL/', operation: 'Put', body: [1]});\n\
         all.errors = [];\n\
         [{url: 'http://a.invalid/'}, {url: 'https://10.0.0.1/', certs: '/none'}, 1, undefined]\n\
           .forEach(function(a) { try { http2(a); } catch (e) { all.errors.push(String(e)); } });\n\
         setHttpHandler(function() { return all; });",
    );
    let gone = json!({ "status": 404, "headers": { "x-mine": "1, 2", "content-length": "10" }, "body": "status 404" });
    assert_eq!((&said["gone"], &said["post"]["status"]), (&gone, &json!(200)));
    let body = |of: &str| serde_json::from_str::<Json>(said[of]["body"].as_str().unwrap()).unwrap();
    let post = body("post");
    assert_eq!((&post["type"], &post["body"]), (&json!("text/x"), &json!("b")));
    assert_eq!(post["authorization"], "Basic bWU6cHc=");
    let list = body("list");
    assert_eq!(
        (&list["line"], &list["type"], &list["body"]),
        (&json!("PUT /"), &json!("application/json"), &json!("[1]"))
    );
    let errors = json!([
        "Error: http2: a.invalid:80 is not allowed; --allow a.invalid lets scripts reach it",
        "Error: http2: 10.0.0.1:443 is not allowed; --allow 10.0.0.1 lets scripts reach it",
        "Error: http2: argument 1 is no object with a url",
        "TypeError: http2: argument 1 (request) is missing",
    ]);
    assert_eq!(said["errors"], errors);
}

#[test]
fn http_async_goes_on_and_tells_what_came() {
    let server = Server::start();
    let text = "var came = [], order = [];\n\
         function told(how) { return function(res) {\n\
           came.push([how, res.url, res.status, res.error || res.body.length]); order.push(how); }; }\n\
         httpAsync({url: 'URL/slow', success: told('success'), error: told('error')});\n\
         httpAsync({url: 'URL/404', operation: 'put', body: 'x', success: told('success'), error: told('error')});\n\
         httpAsync({url: 'http://a.invalid/', success: told('success'), error: told('error')});\n\
         httpAsync({url: 'URL/nobody'});\n\
         order.push('first');\n\
         setHttpHandler(function() { return {came: came, first: order[0]}; });"
        .replace("URL", &format!("http://{}", server.address));
    let host = Host::with(&[("asks.js", &text)], |config| {
        config.allow = vec![server.address.to_string().parse().unwrap()];
    });
    until("all have come", || host.get("asks.js")["came"].as_array().unwrap().len() == 3);
    let said = host.get("asks.js");
    let url = format!("http://{}", server.address);
    let refused = "a.invalid:80 is not allowed; --allow a.invalid lets scripts reach it";
    let of = |url: &str| said["came"].as_array().unwrap().iter().find(|came| came[1] == url).unwrap().clone();
    assert_eq!(of("http://a.invalid/"), json!(["error", "http://a.invalid/", 0, refused]));
    let gone = format!("{url}/404");
    assert_eq!(of(&gone), json!(["error", gone, 404, 10]));
    let slow = of(&format!("{url}/slow"));
    assert_eq!((&slow[0], &slow[2], &said["first"]), (&json!("success"), &json!(200), &json!("first")));
    until("nobody is told", || server.asked().contains(&"GET /nobody".to_owned()));
    let outcome = |name: &str| {
        let is = |row: &actions::row::Row| {
            row.name == "finderscope_script_http_total" && row.labels.contains(&("outcome", name.to_owned()))
        };
        host.scripts.metrics().into_iter().find(is).map(|row| row.value)
    };
    until("all are counted", || (outcome("answered"), outcome("not_allowed")) == (Some(3.0), Some(1.0)));
}

#[test]
fn a_script_that_asks_without_end_is_refused_and_goes_on() {
    let server = Server::start();
    let text = "var errors = 0, came = 0, why = null;\n\
         for (var i = 0; i < 1000; i++) {\n\
           try { httpAsync({url: 'URL/' , success: function() { came++; }}); } catch (e) { errors++; why = String(e); } }\n\
         setHttpHandler(function() { return {errors: errors, came: came, why: why}; });"
        .replace("URL", &format!("http://{}", server.address));
    let host = Host::with(&[("asks.js", &text)], |config| {
        config.allow = vec!["127.0.0.1".parse().unwrap()];
    });
    until("all that waited have come", || host.get("asks.js")["came"] == 256);
    let said = host.get("asks.js");
    assert_eq!(said["errors"], 744);
    assert!(said["why"].as_str().unwrap().contains("256 calls with "), "{said}");
    assert_eq!(server.asked().len(), 256);
}

#[test]
fn an_address_without_a_host_is_this_collectors() {
    let server = Server::start();
    let text = "var said = JSON.parse(http('/script/other.js/json?a=b')).line;\n\
                setHttpHandler(function() { return said; });";
    let host = Host::inert(&[("asks.js", text)], |_| {});
    host.scripts.run(Own { address: server.address, analyzer: Box::new(|| Json::Null) }).unwrap();
    assert_eq!(host.get("asks.js"), "GET /script/other.js/json?a=b");
}
