//! Scripts in the running collector: the article's two, as they stand there and as we say the same; examples; and hostile ones.

mod article;
mod elb;
mod emerging;
mod examples;
mod hostile;
mod rest;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// A script with other addresses, in a folder of the test's own.
struct Edited {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Edited {
    /// Each of these texts stands in the script once, and is replaced; nothing else is changed.
    fn new(name: &str, text: &str, addresses: &[(&str, &str)]) -> Self {
        let mut edited = text.to_owned();
        for (theirs, ours) in addresses {
            assert_eq!(edited.matches(theirs).count(), 1, "{theirs} in {name}");
            edited = edited.replace(theirs, ours);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, edited).unwrap();
        Self { _folder: folder, path }
    }

    /// For `--script`.
    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

/// The folder with the article's scripts: `$FINDERSCOPE_ARTICLE`, else beside the checkout. They are not ours to hand on.
fn articles() -> Option<PathBuf> {
    let given = std::env::var_os("FINDERSCOPE_ARTICLE").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/seed"));
    folder.is_dir().then_some(folder)
}

/// A server in this thread's network that answers a path with a status and a body; its address. Its thread ends with the process.
fn server(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let first = lines.next().unwrap_or_default();
            // The rest of the head is read before an answer.
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let (status, body) = answer(first.split(' ').nth(1).unwrap_or_default());
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}
