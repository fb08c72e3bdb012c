//! TLS: who the other side must be, who we are, and why either was refused. Verification is always on.

use std::error::Error as StdError;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use docker::tls_error;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use super::error::Error;
use super::secret::{read, wrong};
use crate::text::shown;

/// Whom to trust, and who we are. Files are read for each connection, so that new certificates need no restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A file of authorities in PEM; `None` are those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Our certificate and its key, files in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl Tls {
    /// What a folder of certificates says, as Docker's clients have them: `ca.pem` is whom to trust, `cert.pem` and
    /// `key.pem` are who we are. Without `ca.pem` the system's authorities are trusted; the other two come together.
    ///
    /// # Errors
    /// It has none of these, or one of the pair without the other.
    pub fn of_folder(folder: &Path) -> Result<Self, Error> {
        let (ca, cert, key) = (folder.join("ca.pem"), folder.join("cert.pem"), folder.join("key.pem"));
        // What is there and cannot be used is told when it is read.
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        let lonely = |there: &str, missing: &Path| {
            wrong(missing, format!("there is no such file, and {there} beside it is of no use without it"))
        };
        let client = match (is_there(&cert), is_there(&key)) {
            (true, true) => Some((cert, key)),
            (true, false) => return Err(lonely("cert.pem", &key)),
            (false, true) => return Err(lonely("key.pem", &cert)),
            (false, false) => None,
        };
        let ca_file = is_there(&ca).then_some(ca);
        if client.is_none() && ca_file.is_none() {
            return Err(wrong(folder, "there is no ca.pem, cert.pem or key.pem in this folder"));
        }
        Ok(Self { ca_file, client })
    }
}

/// The system's authorities, and when they were read: reading a hundred and more of them takes milliseconds, and they
/// change with updates of the system.
static SYSTEM: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);
const SYSTEM_FOR: Duration = Duration::from_secs(3600);

/// What is spoken to the other side.
pub(super) fn configuration(tls: &Tls) -> Result<Arc<ClientConfig>, Error> {
    let roots = match &tls.ca_file {
        Some(path) => Arc::new(authorities(path)?),
        None => system()?,
    };
    let of_us = |why: String| Error::Connect { url: "TLS".to_owned(), why };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| of_us(error.to_string()))?
        .with_root_certificates(roots);
    let mut configuration = match &tls.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let ours = PrivateKeyDer::from_pem_slice(&read(key, true)?)
                .map_err(|error| wrong(key, format!("it has no private key in PEM: {error}")))?;
            builder.with_client_auth_cert(certificates(cert)?, ours).map_err(|error| {
                wrong(key, format!("it does not go with {}: {error}", shown(&cert.to_string_lossy())))
            })?
        }
    };
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}

fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for one in certificates(path)? {
        roots.add(one).map_err(|error| wrong(path, format!("it is no authority's certificate: {error}")))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path, false)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(wrong(path, "it has no certificate in PEM")),
        Err(error) => Err(wrong(path, format!("it has no certificate in PEM: {error}"))),
    }
}

/// The authorities that the system trusts.
fn system() -> Result<Arc<RootCertStore>, Error> {
    let mut known = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((read, roots)) = &*known
        && read.elapsed() < SYSTEM_FOR
    {
        return Ok(Arc::clone(roots));
    }
    let mut roots = RootCertStore::empty();
    // Those that cannot be used are left out, as other programs do.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let why = "this system trusts no authority: install ca-certificates, or name a file of authorities";
        return Err(Error::Connect { url: "TLS".to_owned(), why: why.to_owned() });
    }
    let roots = Arc::new(roots);
    *known = Some((Instant::now(), Arc::clone(&roots)));
    Ok(roots)
}

/// What TLS says is wrong, if that is what made this error; `host` is the name that was expected.
pub(super) fn refusal(error: &(dyn StdError + 'static), host: &str) -> Option<String> {
    Some(match tls_error(error)? {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is not signed by an authority that is trusted here".to_owned()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; is this host's clock right?".to_owned()
            }
            CertificateError::NotValidForName => format!("its certificate is not for {host}"),
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
                format!("its certificate is for {}, not for {host}", shown(&names))
            }
            other => format!("its certificate is refused: {other}"),
        },
        rustls::Error::AlertReceived(alert) => {
            format!("it ended TLS ({alert:?}): does it want a client certificate, or another one?")
        }
        other => shown(&other.to_string()),
    })
}
