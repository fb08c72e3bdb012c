//! What a script asks for and would regret: requests that change the world go on here, seen to by whoever knows them.

mod capture;
mod docker;
mod overlay;

use actions::http::Answer;

pub(crate) use capture::Capture;
pub(crate) use docker::Docker;

use crate::http::{Failure, Http, Outgoing};

/// The guards of one script.
#[derive(Debug)]
pub(crate) struct Guards {
    /// Sees to updates of a swarm's services; `None` where requests go as they are written.
    pub(crate) docker: Option<Docker>,
    /// Sees to rules of switches; `None` where these go as they are written.
    pub(crate) capture: Option<Capture>,
}

/// A request that somebody sees to.
#[derive(Debug)]
pub(crate) enum Guarded<'g> {
    /// An update of a swarm's service.
    Docker(&'g Docker, docker::Update),
    /// A rule of a switch.
    Capture(&'g Capture, capture::Rule),
}

impl Guards {
    /// Who sees to a request; `None` where it goes as it is written.
    pub(crate) fn route(&self, outgoing: &Outgoing) -> Option<Guarded<'_>> {
        if let Some(capture) = &self.capture
            && let Some(rule) = capture::Rule::of(outgoing)
        {
            return Some(Guarded::Capture(capture, rule));
        }
        let docker = self.docker.as_ref()?;
        docker::Update::of(outgoing).map(|update| Guarded::Docker(docker, update))
    }
}

impl Guarded<'_> {
    /// Sends what a request becomes; the answer is the other side's own.
    pub(crate) async fn send(self, http: &Http, outgoing: &Outgoing) -> Result<Answer, Failure> {
        match self {
            Self::Docker(docker, update) => docker.send(http, outgoing, &update).await,
            Self::Capture(capture, rule) => capture.send(outgoing, &rule).await,
        }
    }
}

/// A path, or a part of one, with what is escaped in it as servers read it; what cannot be read stays.
fn unescaped(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
