//! The parts of a URI (RFC 3986), cut out of it in place.

/// A part of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `http`
    Scheme,
    /// What stands before the host, up to `@`.
    User,
    /// The host; an IPv6 address keeps its brackets.
    Host,
    /// The port, where there is one.
    Port,
    /// The path with its first slash; null when it is empty.
    Path,
    /// The last segment of the path; null when the path ends with a slash.
    File,
    /// What stands behind the last dot of the file.
    Extension,
    /// What stands behind `?`.
    Query,
    /// What stands behind `#`.
    Fragment,
}

impl Part {
    /// The parts by their names in definitions.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("scheme", Self::Scheme),
        ("user", Self::User),
        ("host", Self::Host),
        ("port", Self::Port),
        ("path", Self::Path),
        ("file", Self::File),
        ("extension", Self::Extension),
        ("query", Self::Query),
        ("fragment", Self::Fragment),
    ];

    /// This part of a URI; `None` where it is not there.
    pub fn of(self, uri: &str) -> Option<&str> {
        let (rest, fragment) = cut(uri, '#');
        let (rest, query) = cut(rest, '?');
        let (scheme, rest) = scheme(rest);
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                (Some(authority), path)
            }
            None => (None, rest),
        };
        let user = authority.and_then(|authority| authority.rsplit_once('@'));
        let host = user.map_or(authority, |(_, host)| Some(host)).map(host_and_port);
        let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
        let found = match self {
            Self::Scheme => scheme?,
            Self::User => user?.0,
            Self::Host => host?.0,
            Self::Port => host?.1?,
            Self::Path => path,
            Self::File => file,
            Self::Extension => file.rsplit_once('.')?.1,
            Self::Query => query?,
            Self::Fragment => fragment?,
        };
        (!found.is_empty()).then_some(found)
    }
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

/// A scheme begins with a letter and has letters, digits, plus, minus and dot.
fn scheme(text: &str) -> (Option<&str>, &str) {
    let Some((scheme, rest)) = text.split_once(':') else { return (None, text) };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if is_scheme { (Some(scheme), rest) } else { (None, text) }
}

fn host_and_port(text: &str) -> (&str, Option<&str>) {
    let bracket = text.rfind(']').map_or(0, |place| place + 1);
    match text.get(bracket..).and_then(|rest| rest.rfind(':')) {
        Some(colon) => {
            let (host, port) = text.split_at(bracket + colon);
            (host, port.get(1..))
        }
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_cut_out() {
        let all = |uri| Part::NAMES.map(|(_, part)| part.of(uri).unwrap_or("-")).join(" ");
        for (uri, parts) in [
            ("http://bob@a.com:80/x/y.js?q=1/2#f", "http bob a.com 80 /x/y.js y.js js q=1/2 f"),
            ("https://[2001:db8::1]:443/", "https - [2001:db8::1] 443 / - - - -"),
            ("https://[2001:db8::1]", "https - [2001:db8::1] - - - - - -"),
            ("/metrics/cpu/json?host=a:b", "- - - - /metrics/cpu/json json - host=a:b -"),
            ("a.com:8080", "a.com - - - 8080 8080 - - -"),
            ("//h/p", "- - h - /p p - - -"),
            ("http://", "http - - - - - - - -"),
            ("#?", "- - - - - - - - ?"),
            ("", "- - - - - - - - -"),
            ("é:x/@", "- - - - é:x/@ @ - - -"),
        ] {
            assert_eq!(all(uri), parts, "{uri}");
        }
    }
}
