//! A throw-away authority and one certificate for 127.0.0.1, as PEM files.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// The three files a server over TLS and its clients need.
pub struct Certificates {
    /// The authority, for clients.
    pub ca_file: PathBuf,
    /// The server's certificate, valid for 127.0.0.1 and localhost, without a common name.
    pub certificate_file: PathBuf,
    /// The server's private key.
    pub key_file: PathBuf,
}

impl Certificates {
    /// Writes a fresh authority and a server's certificate into `folder`.
    ///
    /// The certificate may also be a client's: etcd's JSON gateway presents it to etcd itself.
    pub fn write(folder: &Path) -> Result<Certificates> {
        let mut authority = CertificateParams::new(Vec::new()).map_err(Error::other)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().map_err(Error::other)?;
        let authority_certificate = authority.self_signed(&authority_key).map_err(Error::other)?;
        let issuer = Issuer::new(authority, authority_key);

        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut server = CertificateParams::new(names).map_err(Error::other)?;
        server.distinguished_name = DistinguishedName::new();
        server.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let server_key = KeyPair::generate().map_err(Error::other)?;
        let server_certificate = server.signed_by(&server_key, &issuer).map_err(Error::other)?;

        let files = Certificates {
            ca_file: folder.join("ca.pem"),
            certificate_file: folder.join("server.pem"),
            key_file: folder.join("server.key"),
        };
        std::fs::write(&files.ca_file, authority_certificate.pem())?;
        std::fs::write(&files.certificate_file, server_certificate.pem())?;
        std::fs::write(&files.key_file, server_key.serialize_pem())?;
        Ok(files)
    }
}
