//! Secrets, which live in files that nobody else reads, or come from a script and are shown to nobody.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use docker::open_to_others;

use super::error::Error;

/// Most bytes of a file of certificates, a key or a secret.
const FILE_BYTES: u64 = 1 << 20;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Who we say that we are. Files are read for each call, so that a new secret needs no restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody.
    #[default]
    None,
    /// Basic authentication (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The file of the password; a line end at its end does not belong to it.
        password_file: PathBuf,
    },
    /// Basic authentication with what a script gave.
    Given {
        /// The name; it has no colon, which would begin the password.
        user: Secret,
        /// The password.
        password: Secret,
    },
    /// A bearer token (RFC 6750) in a file.
    Bearer {
        /// The file.
        token_file: PathBuf,
    },
}

impl Credentials {
    /// The value of `Authorization`.
    pub(super) fn header(&self) -> Result<Option<String>, Error> {
        use base64::Engine as _;
        let basic = |user: &str, password: &str| {
            let both = format!("{user}:{password}");
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both))
        };
        Ok(match self {
            Self::None => None,
            Self::Basic { user, password_file } => Some(basic(user, &secret(password_file)?)),
            Self::Given { user, password } => Some(basic(&user.0, &password.0)),
            Self::Bearer { token_file } => Some(format!("Bearer {}", secret(token_file)?)),
        })
    }
}

/// A secret of one line.
fn secret(path: &Path) -> Result<String, Error> {
    let text = String::from_utf8(read(path, true)?).map_err(|_| wrong(path, "it is no text"))?;
    let line = text.trim_end_matches(['\r', '\n']);
    if line.is_empty() || line.chars().any(char::is_control) {
        return Err(wrong(path, "it must have one line, which is the secret"));
    }
    Ok(line.to_owned())
}

/// Reads a file; a secret one must not be readable for others.
pub(super) fn read(path: &Path, secret: bool) -> Result<Vec<u8>, Error> {
    let unreadable = |error: io::Error| {
        wrong(
            path,
            match error.kind() {
                io::ErrorKind::NotFound => "there is no such file".to_owned(),
                _ => error.to_string(),
            },
        )
    };
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if !about.is_file() {
        return Err(wrong(path, "it is no file"));
    }
    if secret && open_to_others(about.mode(), about.uid()) {
        let mode = about.mode() & 0o777;
        return Err(wrong(
            path,
            format!("others can read this secret (its mode is {mode:04o}): chmod 0600 it"),
        ));
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(wrong(path, format!("it is longer than {FILE_BYTES} bytes")));
    }
    Ok(text)
}

pub(super) fn wrong(path: &Path, why: impl Into<String>) -> Error {
    Error::File { path: path.to_owned(), why: why.into() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn credentials_come_from_private_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "sesame\r\n").unwrap();
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let basic = Credentials::Basic { user: "Aladdin".into(), password_file: path.clone() };
        mode(0o644);
        let error = basic.header().unwrap_err().to_string();
        assert!(error.contains("chmod 0600"), "{error}");
        mode(0o600);
        assert_eq!(basic.header().unwrap().unwrap(), "Basic QWxhZGRpbjpzZXNhbWU=");
        let bearer = Credentials::Bearer { token_file: path.clone() };
        assert_eq!(bearer.header().unwrap().unwrap(), "Bearer sesame");
        for text in ["", "\n", "two\nlines\n", "a\u{0}b"] {
            fs::write(&path, text).unwrap();
            assert!(bearer.header().unwrap_err().to_string().contains("one line"));
        }
        assert!(!format!("{basic:?}").contains("sesame"));
    }

    #[test]
    fn what_a_script_gave_is_sent_and_not_shown() {
        let given = Credentials::Given { user: Secret::new("Aladdin"), password: Secret::new("open sesame") };
        // The example of RFC 7617.
        assert_eq!(given.header().unwrap().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let shown = format!("{given:?}");
        assert!(!shown.contains("sesame") && !shown.contains("Aladdin"), "{shown}");
    }
}
