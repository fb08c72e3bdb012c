//! The operator's files of reference data: countries, autonomous systems, vendors of Ethernet addresses. They are
//! read at the start and on every reload; the tables compile what is in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tables::flow::reference::{References, Vendors, countries, systems};

/// Which files there are.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Countries of addresses, in MaxMind's format.
    pub country: Option<PathBuf>,
    /// Autonomous systems of addresses, in MaxMind's format.
    pub asn: Option<PathBuf>,
    /// Vendors of Ethernet addresses.
    pub oui: Option<PathBuf>,
    /// Whether names of addresses are looked up.
    pub dns: bool,
}

/// The largest file that is read, bytes.
const LARGEST: u64 = 1 << 30;

impl Files {
    /// Reads all of them.
    ///
    /// # Errors
    /// For each file that cannot be read the setting that names it, and why.
    pub fn read(&self) -> Result<References, Vec<(&'static str, String)>> {
        let mut wrong = Vec::new();
        let mut read = |setting: &'static str, path: &Option<PathBuf>| {
            let bytes = path.as_deref().map(bytes).transpose();
            bytes.unwrap_or_else(|why| {
                wrong.push((setting, why));
                None
            })
        };
        let files = [
            ("geo.country", read("geo.country", &self.country), &self.country),
            ("geo.asn", read("geo.asn", &self.asn), &self.asn),
            ("oui.file", read("oui.file", &self.oui), &self.oui),
        ];
        let mut references = References { dns: self.dns, ..References::default() };
        for (setting, bytes, path) in files {
            let (Some(bytes), Some(path)) = (bytes, path) else { continue };
            let taken = match setting {
                "geo.country" => countries(&bytes).map(|set| references.country = Some(Arc::new(set))),
                "geo.asn" => systems(&bytes).map(|set| references.asn = Some(Arc::new(set))),
                _ => Vendors::read(&String::from_utf8_lossy(&bytes))
                    .map(|vendors| references.oui = Some(Arc::new(vendors))),
            };
            if let Err(why) = taken {
                wrong.push((setting, format!("{}: {why}", path.display())));
            }
        }
        if wrong.is_empty() { Ok(references) } else { Err(wrong) }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: cannot be read: {error}", path.display());
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > LARGEST {
        return Err(format!("{}: is longer than {LARGEST} bytes", path.display()));
    }
    std::fs::read(path).map_err(failed)
}
