//! Reference data that the operator gives in files: countries and autonomous systems of addresses, vendors of Ethernet
//! addresses. Whoever reads the files gives their bytes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use decode::Mac;
use ip_network::IpNetwork;
use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};

use super::group::GroupSet;

/// What the key functions `country`, `asn`, `oui` and `dns` look up; a function whose data is not there is refused.
#[derive(Clone, Debug, Default)]
pub struct References {
    /// Made by [`countries`].
    pub country: Option<Arc<GroupSet>>,
    /// Made by [`systems`].
    pub asn: Option<Arc<GroupSet>>,
    /// Made by [`Vendors::read`].
    pub oui: Option<Arc<Vendors>>,
    /// Whether names of addresses are looked up.
    pub dns: bool,
}

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// It has another format.
    #[error("not a file in MaxMind's format: {0}")]
    Format(#[from] MaxMindDbError),
    /// It has the right format, and none of what is looked for.
    #[error("holds no {0}")]
    Empty(&'static str),
    /// It is no list of vendors.
    #[error("line {0} is no vendor of Ethernet addresses")]
    Line(usize),
}

/// Countries from a file in MaxMind's format: the code of each prefix, a space, and the English name if there is one.
///
/// # Errors
/// The file has another format, or no countries.
pub fn countries(bytes: &[u8]) -> Result<GroupSet, ReferenceError> {
    let code = [
        ["country", "iso_code"].as_slice(),
        &["registered_country", "iso_code"],
        &["country_code"],
        &["country"],
    ];
    let name =
        [["country", "names", "en"].as_slice(), &["registered_country", "names", "en"], &["country_name"]];
    compile(bytes, "countries", |read| {
        let code = code.iter().find_map(|path| read.text(path))?;
        let name = name.iter().find_map(|path| read.text(path));
        Some(name.map_or_else(|| code.clone(), |name| format!("{code} {name}")))
    })
}

/// Autonomous systems from a file in MaxMind's format: the number of each prefix, a space, and the organisation if there
/// is one.
///
/// # Errors
/// The file has another format, or no autonomous systems.
pub fn systems(bytes: &[u8]) -> Result<GroupSet, ReferenceError> {
    let name = [["autonomous_system_organization"].as_slice(), &["as_name"], &["name"]];
    compile(bytes, "autonomous systems", |read| {
        let number = read.number(&["autonomous_system_number"]).or_else(|| {
            let text = read.text(&["asn"])?;
            text.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()
        })?;
        let name = name.iter().find_map(|path| read.text(path));
        Some(name.map_or_else(|| number.to_string(), |name| format!("{number} {name}")))
    })
}

/// The record of a prefix.
struct Record<'r, 'b>(&'r maxminddb::LookupResult<'r, &'b [u8]>);

impl Record<'_, '_> {
    fn text(&self, path: &[&str]) -> Option<String> {
        let path: Vec<PathElement<'_>> = path.iter().map(|key| PathElement::Key(key)).collect();
        self.0.decode_path::<String>(&path).ok().flatten().filter(|text| !text.is_empty())
    }

    fn number(&self, path: &[&str]) -> Option<u32> {
        let path: Vec<PathElement<'_>> = path.iter().map(|key| PathElement::Key(key)).collect();
        self.0.decode_path::<u32>(&path).ok().flatten()
    }
}

fn compile(
    bytes: &[u8],
    what: &'static str,
    label: impl Fn(&Record<'_, '_>) -> Option<String>,
) -> Result<GroupSet, ReferenceError> {
    let reader = Reader::from_source(bytes)?;
    // Many prefixes share a record.
    let mut labels: HashMap<usize, Option<Arc<str>>, RandomState> = HashMap::default();
    let mut networks = Vec::new();
    for found in reader.networks(WithinOptions::default())? {
        let found = found?;
        let Some(offset) = found.offset() else { continue };
        let label = labels.entry(offset).or_insert_with(|| label(&Record(&found)).map(Arc::from));
        let Some(label) = label else { continue };
        let network = found.network()?;
        if let Ok(network) = IpNetwork::new_truncate(network.ip(), network.prefix()) {
            networks.push((network, Arc::clone(label)));
        }
    }
    if networks.is_empty() {
        return Err(ReferenceError::Empty(what));
    }
    Ok(GroupSet::from_networks(networks))
}

/// The two parts of a label that [`countries`] or [`systems`] made.
pub(super) fn parts(label: &str) -> (&str, Option<&str>) {
    label.split_once(' ').map_or((label, None), |(code, name)| (code, Some(name)))
}

/// The label of an address.
pub(super) fn find(set: &GroupSet, address: IpAddr) -> Option<&str> {
    set.group(address).map(|label| &**label)
}

/// Vendors of Ethernet addresses, by prefixes of 24, 28 and 36 bits.
#[derive(Debug, Default)]
pub struct Vendors {
    names: HashMap<(u8, u64), Arc<str>, RandomState>,
}

/// Lengths of prefixes that are given to vendors, the longest first.
const LENGTHS: [u8; 3] = [36, 28, 24];

fn prefix(mac: u64, bits: u8) -> (u8, u64) {
    (bits, mac >> (48 - u32::from(bits)))
}

impl Vendors {
    /// Reads a list of vendors: Wireshark's `manuf`, the IEEE's `oui.txt` or its `oui.csv`, `mam.csv`, `oui36.csv`.
    ///
    /// # Errors
    /// A line of a known form has a prefix that is none, or no line has a vendor.
    pub fn read(text: &str) -> Result<Self, ReferenceError> {
        let mut vendors = Self::default();
        for (place, line) in text.lines().enumerate() {
            let Some((digits, name)) = csv(line).or_else(|| oui_txt(line)).or_else(|| manuf(line)) else {
                continue;
            };
            let (bits, number) = assignment(digits).ok_or(ReferenceError::Line(place + 1))?;
            vendors.names.insert(prefix(number, bits), Arc::from(name));
        }
        if vendors.names.is_empty() { Err(ReferenceError::Empty("vendors")) } else { Ok(vendors) }
    }

    /// How many prefixes there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The vendor of an address, by its longest prefix.
    pub fn name(&self, mac: Mac) -> Option<&str> {
        let [a, b, c, d, e, f] = mac.0;
        let number = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        LENGTHS.iter().find_map(|bits| self.names.get(&prefix(number, *bits))).map(|name| &**name)
    }
}

/// `MA-L,00000C,"Cisco Systems, Inc",address`
fn csv(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once(',').filter(|(registry, _)| registry.starts_with("MA-"))?;
    let (digits, rest) = rest.split_once(',')?;
    let name = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').map_or(quoted, |(name, _)| name),
        None => rest.split_once(',').map_or(rest, |(name, _)| name),
    };
    Some((digits, name.trim()))
}

/// `00-00-0C   (hex)  Cisco Systems, Inc`
fn oui_txt(line: &str) -> Option<(&str, &str)> {
    let (digits, name) = line.split_once("(hex)")?;
    Some((digits.trim(), name.trim()))
}

/// `00:00:0C Cisco Cisco Systems, Inc`, `00:1B:C5:00:00:00/36 Converging Converging Systems Inc.`
fn manuf(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (digits, names) = line.split_once('\t')?;
    // A line of the table begins with a byte; headings and addresses in postal form do not.
    if !matches!(digits.as_bytes().get(2), Some(b':' | b'-')) {
        return None;
    }
    let (short, long) = names.split_once('\t').unwrap_or((names, ""));
    let long = long.split('#').next().unwrap_or_default().trim();
    Some((digits.trim(), if long.is_empty() { short.trim() } else { long }))
}

/// Length and value of a prefix, the value in the upper ones of 48 bits.
fn assignment(text: &str) -> Option<(u8, u64)> {
    let (digits, bits) = match text.split_once('/') {
        Some((digits, bits)) => (digits, bits.parse::<u8>().ok()?),
        None => {
            let digits = text.bytes().filter(u8::is_ascii_hexdigit).count();
            (text, u8::try_from(digits * 4).ok()?)
        }
    };
    let mut number = 0_u64;
    let mut count = 0_u32;
    for c in digits.chars().filter(|c| !matches!(c, ':' | '-' | '.')) {
        number = (number << 4) | u64::from(c.to_digit(16)?);
        count += 1;
        if count > 12 {
            return None;
        }
    }
    LENGTHS.contains(&bits).then(|| (bits, number << (48 - 4 * count)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_list_of_vendors_is_read() {
        let manuf = "# comment\n00:00:0C\tCisco\tCisco Systems, Inc\n\
            00:1B:C5:00:00:00/36\tConverging\tConverging Systems Inc.\nFC-FF-AA\tIEEERegi\n\
            00:50:C2:00:00:00/28\tShort\t# said elsewhere\n";
        let txt = "OUI/MA-L\t\tOrganization\ncompany_id\t\tOrganization\n\t\tAddress\n\n\
            00-00-0C   (hex)\t\tCisco Systems, Inc\n00000C     (base 16)\t\tCisco Systems, Inc\n\t\t\t\tSan Jose  CA\n";
        let csv = "Registry,Assignment,Organization Name,Organization Address\n\
            MA-L,00000C,\"Cisco Systems, Inc\",\"80 West Tasman\"\nMA-S,001BC5000,Converging Systems Inc.,x\n";
        for (text, many) in [(manuf, 4), (txt, 1), (csv, 2)] {
            let vendors = Vendors::read(text).unwrap();
            assert_eq!(vendors.len(), many, "{text}");
            assert_eq!(vendors.name(Mac([0, 0, 0x0c, 1, 2, 3])), Some("Cisco Systems, Inc"));
            assert_eq!(vendors.name(Mac([0, 0, 0x0d, 1, 2, 3])), None);
        }
        let vendors = Vendors::read(manuf).unwrap();
        assert_eq!(vendors.name(Mac([0, 0x1b, 0xc5, 0, 0x0f, 9])), Some("Converging Systems Inc."));
        assert_eq!(vendors.name(Mac([0, 0x1b, 0xc5, 0, 0x10, 9])), None);
        assert_eq!(vendors.name(Mac([0, 0x50, 0xc2, 0x0f, 0, 0])), Some("Short"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, reason) in [
            ("", "holds no vendors"),
            ("<html>\n", "holds no vendors"),
            ("00:00:0C\tA\nZZ:00:00\tB\n", "line 2 is no vendor"),
            ("00:00:0C:00:00:00/25\tA\n", "line 1 is no vendor"),
            ("00:00:0C:00:00:00:00:00/36\tA\n", "line 1 is no vendor"),
        ] {
            let error = Vendors::read(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
        for bytes in [b"".as_slice(), b"no database", b"\xab\xcd\xefMaxMind.com"] {
            assert!(countries(bytes).unwrap_err().to_string().starts_with("not a file in MaxMind's format"));
        }
    }
}
