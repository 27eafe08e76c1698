//! TLS for the HTTP server: the certificate, and its reload while connections go on.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bicast_shared::clock;
use parking_lot::RwLock;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsConfig;
use crate::files;

/// What browsers and TLS stacks take from a server's certificate at most (398 days), less a little.
const SELF_SIGNED_DAYS: i64 = 365;

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read, or holds something else.
    #[error(
        "cannot use {} (setting {setting}): {why}.\n  It must hold PEM: the certificate with its chain, or its private key (PKCS#8, PKCS#1 or SEC1).",
        .file.display()
    )]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The two do not belong together.
    #[error("the key in {} does not belong to the certificate in {}: {why}", .key.display(), .certificate.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the library said.
        why: String,
    },
    /// No certificate could be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(String),
}

/// The certificate in force. Cloning gives another handle.
#[derive(Debug, Clone)]
struct Current(Arc<RwLock<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

/// What TLS connections are accepted with: HTTP/2 where the client knows it, else HTTP/1.1 (ALPN, RFC 7301).
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    current: Current,
    files: Option<Files>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Tls {
    /// Loads the configured certificate, or makes one for this run where none is named.
    pub(crate) fn new(config: &TlsConfig, listening: &[SocketAddr]) -> Result<Self, TlsError> {
        let named = !config.certificate.as_os_str().is_empty();
        let files = named.then(|| Files { certificate: config.certificate.clone(), key: config.key.clone() });
        let pair = match &files {
            Some(files) => files.load()?,
            None => self_signed(listening)?,
        };
        announce(&pair, files.is_none());
        let current = Current(Arc::new(RwLock::new(Arc::new(pair))));
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&versions)
            .map_err(|error| TlsError::SelfSigned(error.to_string()))?;
        let mut server = builder.with_no_client_auth().with_cert_resolver(Arc::new(current.clone()));
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), current, files })
    }

    /// Accepts TLS on a connection.
    pub(super) const fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Takes a changed certificate for connections that come from then on; those that are there go on. One that is broken, or
    /// whose key is still the old one's, is not taken.
    pub(super) async fn watch(self, finish: CancellationToken) {
        let Some(files) = self.files.clone() else { return };
        let changed = || match files.load() {
            Ok(pair) => {
                announce(&pair, false);
                *self.current.0.write() = Arc::new(pair);
                metrics::counter!("bicast_tls_reloads_total").increment(1);
            }
            Err(error) => {
                metrics::counter!("bicast_tls_reload_failures_total").increment(1);
                tracing::warn!(%error, "the changed certificate is not taken; the old one stays in force");
            }
        };
        files::watch(files.version(), || files.version(), finish, changed).await;
    }
}

impl Files {
    fn load(&self) -> Result<CertifiedKey, TlsError> {
        let wrong = |setting, file: &Path, why: String| TlsError::File { setting, file: file.into(), why };
        let bad = |error: &dyn std::fmt::Display| {
            wrong("http.tls.certificate", &self.certificate, error.to_string())
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| bad(&error))?;
        if chain.is_empty() {
            return Err(bad(&"there is no certificate in it"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| wrong("http.tls.key", &self.key, error.to_string()))?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            why: error.to_string(),
        })
    }

    fn version(&self) -> [files::Version; 2] {
        [&self.certificate, &self.key].map(|file| files::version(file))
    }
}

/// A certificate for trying things out: browsers warn of it, and have to be told to go on.
fn self_signed(listening: &[SocketAddr]) -> Result<CertifiedKey, TlsError> {
    let failed = |error: &dyn std::fmt::Display| TlsError::SelfSigned(error.to_string());
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let own = if_addrs::get_if_addrs().unwrap_or_default().into_iter().map(|interface| interface.ip());
    let bound = listening.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
    names.extend(own.chain(bound).map(|ip| ip.to_string()));
    names.sort();
    names.dedup();
    let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "bicast, self-signed");
    let seconds = clock::utc().unix_nanos() / 1_000_000_000;
    let now = time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| failed(&error))?;
    params.not_before = now - time::Duration::DAY;
    params.not_after = now + time::Duration::days(SELF_SIGNED_DAYS);
    let key = KeyPair::generate().map_err(|error| failed(&error))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    CertifiedKey::from_der(vec![certificate.der().clone()], key, &default_provider())
        .map_err(|error| failed(&error))
}

/// Says which certificate is in force, and until when.
fn announce(pair: &CertifiedKey, self_signed: bool) {
    let Some(first) = pair.cert.first() else { return };
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(first) else { return };
    let until = parsed.validity().not_after;
    metrics::gauge!("bicast_tls_certificate_expires_timestamp_seconds").set(until.timestamp() as f64);
    let subject = parsed.subject().to_string();
    if self_signed {
        tracing::warn!(%until, "HTTPS with a self-signed certificate: browsers warn of it (setting http.tls.certificate)");
    } else {
        tracing::info!(subject, %until, "HTTPS certificate");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("bicast-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn pair(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn named(files: &Files) -> TlsConfig {
        TlsConfig { certificate: files.certificate.clone(), key: files.key.clone(), ..TlsConfig::default() }
    }

    #[test]
    fn files_are_taken_only_as_a_pair_and_errors_name_the_setting() {
        let folder = folder("pair");
        let files = Files { certificate: folder.join("a.pem"), key: folder.join("a.key") };
        let said = || Tls::new(&named(&files), &[]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said().contains("http.tls.certificate") && said().contains("a.pem"), "{}", said());
        let (a, a_key) = pair("a.example");
        let (_, b_key) = pair("b.example");
        std::fs::write(&files.certificate, &a).unwrap();
        assert!(said().contains("http.tls.key"), "{}", said());
        std::fs::write(&files.key, b_key).unwrap();
        assert!(said().contains("does not belong"), "{}", said());
        std::fs::write(&files.certificate, "nothing").unwrap();
        assert!(said().contains("no certificate"), "{}", said());
        std::fs::write(&files.certificate, a).unwrap();
        std::fs::write(&files.key, a_key).unwrap();
        assert_eq!(said(), "");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn one_is_made_where_none_is_named() {
        let tls = Tls::new(&TlsConfig::default(), &["192.0.2.7:443".parse().unwrap()]).unwrap();
        let current = tls.current.0.read().clone();
        let (_, parsed) = x509_parser::parse_x509_certificate(&current.cert[0]).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap();
        let text = format!("{:?}", names.value.general_names);
        assert!(text.contains("localhost") && text.contains("[192, 0, 2, 7]"), "{text}");
        assert!(parsed.validity().is_valid());
    }
}
