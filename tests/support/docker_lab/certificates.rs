//! Certificates for the lab's engine and its clients, by an authority of the lab's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Writes the client's `ca.pem`, `cert.pem`, `key.pem`, and the engine's `server.pem`, `server-key.pem`.
pub(super) fn write(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    let sign = |cert: &str, key: &str, names: &[&str], usage: ExtendedKeyUsagePurpose| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![usage];
        let pair = KeyPair::generate().unwrap();
        fs::write(folder.join(cert), params.signed_by(&pair, &issuer).unwrap().pem()).unwrap();
        fs::write(folder.join(key), pair.serialize_pem()).unwrap();
        fs::set_permissions(folder.join(key), fs::Permissions::from_mode(0o600)).unwrap();
    };
    sign("server.pem", "server-key.pem", &["localhost", "127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth);
    sign("cert.pem", "key.pem", &[], ExtendedKeyUsagePurpose::ClientAuth);
}
