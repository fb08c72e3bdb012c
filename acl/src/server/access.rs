//! Who may ask: whoever reaches a loopback address, shows the token, or has a certificate of our authority.

use std::path::Path;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::options::Options;
use super::secret;

/// What a client must have.
pub(crate) struct Access {
    /// What it must show with each request.
    token: Option<String>,
    /// What is spoken on its connection, which may ask for its certificate.
    pub(crate) tls: Option<TlsAcceptor>,
}

impl Access {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// A file cannot be used, or anybody in the network could have rules installed and nobody said that he may.
    pub(crate) fn read(options: &Options) -> Result<Self, String> {
        let known = options.token_file.is_some() || options.tls_client_ca.is_some();
        if !known && !options.open && !options.listen.ip().is_loopback() {
            return Err(format!(
                "on {} anybody could have rules installed: use --token-file, or --tls-cert, --tls-key and --tls-client-ca; \
                 or say --open when a network that only its operators reach is protection enough",
                options.listen
            ));
        }
        let token = options.token_file.as_deref().map(secret::token).transpose()?;
        let tls = match (&options.tls_cert, &options.tls_key) {
            (Some(cert), Some(key)) => Some(acceptor(cert, key, options.tls_client_ca.as_deref())?),
            _ => None,
        };
        Ok(Self { token, tls })
    }

    /// Whether a request shows the token, where there is one: `Bearer TOKEN`, or `Basic` with it as the password of any
    /// user, as a client sends that was made for a proxy with basic authentication.
    pub(crate) fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, shown)) = shown.and_then(|value| value.split_once(' ')) else { return false };
        let shown = shown.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return same(shown.as_bytes(), token.as_bytes());
        }
        let pair = scheme.eq_ignore_ascii_case("basic").then(|| from_base64(shown)).flatten();
        let password = pair.as_ref().and_then(|pair| pair.splitn(2, |byte| *byte == b':').nth(1));
        password.is_some_and(|password| same(password, token.as_bytes()))
    }
}

/// Whether both are the same; how long that takes tells nothing but their lengths.
fn same(a: &[u8], b: &[u8]) -> bool {
    let different = a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b));
    std::hint::black_box(different) == 0 && a.len() == b.len()
}

/// The bytes of a base64 text (RFC 4648, section 4), with or without its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

fn acceptor(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<TlsAcceptor, String> {
    let chain = certificates(cert)?;
    let wrong = |path: &Path, why: String| format!("{}: {why}", path.display());
    let text = secret::read(key, true)?;
    let ours = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| wrong(key, format!("it has no private key in PEM: {error}")))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for one in certificates(path)? {
                roots
                    .add(one)
                    .map_err(|error| wrong(path, format!("it is no authority's certificate: {error}")))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| wrong(path, error.to_string()))?)
        }
    };
    let mut configuration = builder
        .with_single_cert(chain, ours)
        .map_err(|error| wrong(key, format!("it does not go with {}: {error}", cert.display())))?;
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(configuration)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = secret::read(path, false)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!("{}: it has no certificate in PEM", path.display())),
        Err(error) => Err(format!("{}: it has no certificate in PEM: {error}", path.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_shown_in_two_ways() {
        let access = Access { token: Some("0123456789abcdef".to_owned()), tls: None };
        let lets_in =
            |value: &str| access.lets_in(&HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]));
        for value in [
            "Bearer 0123456789abcdef",
            "bearer  0123456789abcdef",
            // any:0123456789abcdef and :0123456789abcdef
            "Basic YW55OjAxMjM0NTY3ODlhYmNkZWY=",
            "basic OjAxMjM0NTY3ODlhYmNkZWY",
        ] {
            assert!(lets_in(value), "{value}");
        }
        for value in [
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer",
            "0123456789abcdef",
            "Digest 0123456789abcdef",
            "Basic MDEyMzQ1Njc4OWFiY2RlZg==",
            "Basic !",
            "Basic ",
        ] {
            assert!(!lets_in(value), "{value}");
        }
        assert!(!access.lets_in(&HeaderMap::new()));
        assert!(Access { token: None, tls: None }.lets_in(&HeaderMap::new()));
    }

    #[test]
    fn base64_is_read_as_its_specification_has_it() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
            ("Zm9vYmE=", "fooba"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(from_base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(from_base64("+/8"), Some(vec![0xfb, 0xff]));
        assert_eq!(from_base64("a b"), None);
    }
}
