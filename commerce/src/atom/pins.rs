//! The optional list of public keys that Atom's servers may show (`spec/atom.md` 18, "responses not signed").
//!
//! A pin comes on top of the usual verification by the system's roots, never in its place: a certificate must be valid
//! and its key must be on the list. Without a list this module has no part in a connection.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;
use sha2::{Digest, Sha256};

/// SHA-256 of a server's public key (its SubjectPublicKeyInfo in DER).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Reads a pin in Base64.
    pub fn parse(text: &str) -> Option<Pin> {
        let bytes = BASE64.decode(text).ok()?;
        bytes.try_into().ok().map(Pin)
    }

    fn of(certificate: &CertificateDer<'_>) -> Result<Pin, Error> {
        let key = ParsedCertificate::try_from(certificate)?.subject_public_key_info();
        Ok(Pin(Sha256::digest(key.as_ref()).into()))
    }
}

/// TLS 1.2 or newer, the system's roots, and one of these keys.
pub fn tls_config(pins: Vec<Pin>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedVerifier {
        usual: Arc::new(Verifier::new(provider.clone())?),
        pins,
    };
    let builder = with_provider(provider)?.dangerous();
    let config = builder.with_custom_certificate_verifier(Arc::new(verifier));
    Ok(config.with_no_client_auth())
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn with_provider(provider: Arc<CryptoProvider>) -> Result<Builder, Error> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

/// The usual verification first, then the key.
#[derive(Debug)]
struct PinnedVerifier {
    usual: Arc<dyn ServerCertVerifier>,
    pins: Vec<Pin>,
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.usual.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        if self.pins.contains(&Pin::of(end_entity)?) {
            return Ok(verified);
        }
        log::error!(
            "the certificate of {server_name:?} is valid, and its key is not in atom.public_key_pins"
        );
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate of nobody for `atom.example`, and the digest of its key as OpenSSL computes it.
    const CERTIFICATE: &str = concat!(
        "MIIBhTCCASugAwIBAgIUFhcUjdBUu5XNkpNyY2NyFjUacUYwCgYIKoZIzj0EAwIwFzEVMBMGA1UE",
        "AwwMYXRvbS5leGFtcGxlMCAXDTI2MTEyMzA5MzcyNFoYDzIxMjYxMDMwMDkzNzI0WjAXMRUwEwYD",
        "VQQDDAxhdG9tLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQw0Yb3cvimPITcBMN1",
        "GnfByFNWjmEyeMBrwfaNzav2jrwQF1p2lVZPxTYwwP7ivQ7os0e/DEpMiUjO8bi06vCKo1MwUTAd",
        "BgNVHQ4EFgQUS/wSvl+g/kM71dDcRVfAUO3XztEwHwYDVR0jBBgwFoAUS/wSvl+g/kM71dDcRVfA",
        "UO3XztEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAdU93o7sgbH4sx24/dqnfq",
        "QaBTrXUpwRicemdAm3D85wIhAPCbpg7PBnAFjXwIvHXzvV/k+wgZCq4XudC5c2sXQ8Tv",
    );
    const KEY_DIGEST: &str = "Sj+DNUQ1p+u/T1Pzn0yhDRmt2sKpWMkINMEsVpwjalU=";

    /// Stands for the system's verification: it says what it is told to say.
    #[derive(Debug)]
    struct Usual(bool);

    impl ServerCertVerifier for Usual {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            match self.0 {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(CertificateError::UnknownIssuer.into()),
            }
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    fn verdict(usual: bool, pins: &[&str]) -> Result<(), Error> {
        let verifier = PinnedVerifier {
            usual: Arc::new(Usual(usual)),
            pins: pins.iter().filter_map(|pin| Pin::parse(pin)).collect(),
        };
        let certificate = CertificateDer::from(BASE64.decode(CERTIFICATE).expect("Base64"));
        let name = ServerName::try_from("atom.example").expect("a name");
        let verdict = verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now());
        verdict.map(|_| ())
    }

    /// A key on the list passes, another key does not, and the list never makes up for a certificate that is invalid.
    #[test]
    fn a_pin_comes_on_top() {
        let other = BASE64.encode([7; 32]);
        assert_eq!(verdict(true, &[&other, KEY_DIGEST]), Ok(()));
        let unknown_key = Err(CertificateError::ApplicationVerificationFailure.into());
        assert_eq!(verdict(true, &[&other]), unknown_key);
        let invalid = Err(CertificateError::UnknownIssuer.into());
        assert_eq!(verdict(false, &[KEY_DIGEST]), invalid);
    }

    /// A pin is 32 bytes in Base64, and a client can be made with one.
    #[test]
    fn the_form_of_a_pin() {
        let pin = Pin::parse(KEY_DIGEST).expect("a pin");
        assert_eq!(Pin::parse("c2hvcnQ="), None);
        assert_eq!(Pin::parse("not Base64"), None);
        tls_config(vec![pin]).expect("a configuration");
    }
}
