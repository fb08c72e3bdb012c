//! TLS towards an engine: who it must be, who we are, and why either was refused.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use crate::error::{Error, shown};

/// Most bytes of a certificate file.
const FILE_BYTES: u64 = 1 << 20;

/// What is spoken to an engine whose certificate `ca.pem` in this folder has signed, with `cert.pem` and `key.pem` as
/// ours. The files are read each time, so that new certificates need no restart.
///
/// # Errors
/// A file is missing or is not what its name says, or others can read the key.
pub(crate) fn configuration(certs: &Path) -> Result<Arc<ClientConfig>, Error> {
    let (ca, cert, key) = (certs.join("ca.pem"), certs.join("cert.pem"), certs.join("key.pem"));
    let mut roots = RootCertStore::empty();
    for one in certificates(&ca)? {
        roots.add(one).map_err(|error| wrong(&ca, format!("it is no authority's certificate: {error}")))?;
    }
    let chain = certificates(&cert)?;
    let text = read(&key, true)?;
    let ours = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|error| wrong(&key, format!("it has no private key in PEM: {error}")))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(certs, error.to_string()))?;
    let mut configuration =
        builder.with_root_certificates(roots).with_client_auth_cert(chain, ours).map_err(|error| {
            wrong(&key, format!("it does not go with {}: {error}", shown(&cert.to_string_lossy())))
        })?;
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path, false)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(path, "it has no certificate in PEM".to_owned())),
        Err(error) => Err(wrong(path, format!("it has no certificate in PEM: {error}"))),
    }
}

fn read(path: &Path, secret: bool) -> Result<Vec<u8>, Error> {
    let unreadable = |error: io::Error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => {
                "there is no such file; TLS needs ca.pem, cert.pem and key.pem".to_owned()
            }
            _ => error.to_string(),
        };
        wrong(path, why)
    };
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(wrong(path, "it is no file".to_owned()));
    }
    if secret && open_to_others(about.mode(), about.uid()) {
        let mode = about.mode() & 0o777;
        return Err(wrong(path, format!("others can read this key (its mode is {mode:04o}): chmod 0600 it")));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(wrong(path, format!("it is longer than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Whether a file of this mode and owner is read by more than its owner. What root owns may be read by one group: that
/// is how a key is given to a service.
pub fn open_to_others(mode: u32, owner: u32) -> bool {
    let allowed = if owner == 0 { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

fn wrong(path: &Path, why: String) -> Error {
    Error::Certificates { path: PathBuf::from(path), why }
}

/// What TLS says is wrong, if that is what made this error: `certs` is the folder, `host` the name that was expected.
pub(crate) fn refusal(error: &(dyn StdError + 'static), certs: &Path, host: &str) -> Option<String> {
    let error = tls_error(error)?;
    let file = |name: &str| shown(&certs.join(name).to_string_lossy());
    Some(match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                format!("the engine's certificate is not signed by {}", file("ca.pem"))
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the engine's certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the engine's certificate is not valid yet; is this host's clock right?".to_owned()
            }
            CertificateError::NotValidForName => format!("the engine's certificate is not for {host}"),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
                format!("the engine's certificate is for {}, not for {host}", shown(&names))
            }
            other => format!("the engine's certificate is refused: {other}"),
        },
        rustls::Error::AlertReceived(alert) => {
            format!("the engine refuses the certificate {}: {alert:?}", file("cert.pem"))
        }
        rustls::Error::InvalidMessage(_) => "what answers does not speak TLS".to_owned(),
        other => other.to_string(),
    })
}

/// The TLS error that an error was made of.
pub fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error does not call what it carries its source.
        let carried = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(found) = carried.and_then(|carried| carried.downcast_ref()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_owners_or_of_one_group_of_roots() {
        for (mode, owner, open) in [
            (0o100_600, 1000, false),
            (0o100_400, 0, false),
            (0o100_640, 0, false),
            (0o100_640, 1000, true),
            (0o100_660, 0, true),
            (0o100_604, 0, true),
            (0o100_644, 1000, true),
        ] {
            assert_eq!(open_to_others(mode, owner), open, "{mode:o} of {owner}");
        }
    }
}
