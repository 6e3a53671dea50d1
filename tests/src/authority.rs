//! An authority of certificates as a mesh has one: it names workloads by their SPIFFE ids. Made anew for every story.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use serde_json::{Value, json};

/// See the module's head.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        // A name of its own: what has the name of its issuer passes for a certificate that signed itself.
        params.distinguished_name.push(DnType::CommonName, "the authority of a story");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its own certificate in PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a name in its URIs, and its key, in PEM.
    ///
    /// # Errors
    /// If it is no URI.
    pub fn workload(&self, id: &str) -> Result<(String, String)> {
        let mut params = CertificateParams::default();
        params.subject_alt_names.push(SanType::URI(id.try_into()?));
        self.signed(&params)
    }

    /// What makes a listener on this machine one that asks every caller for a certificate of this authority: Envoy's
    /// transport socket.
    ///
    /// # Errors
    /// If a certificate cannot be made.
    pub fn transport_socket(&self) -> Result<Value> {
        let (chain, key) = self.signed(&CertificateParams::new(["127.0.0.1".to_owned()])?)?;
        let inline = |text: &str| json!({ "inline_string": text });
        Ok(json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": true,
                "common_tls_context": {
                    "tls_certificates": [{ "certificate_chain": inline(&chain), "private_key": inline(&key) }],
                    "validation_context": { "trusted_ca": inline(&self.certificate()) },
                },
            },
        }))
    }

    fn signed(&self, params: &CertificateParams) -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, &self.0)?.pem(), key.serialize_pem()))
    }
}
