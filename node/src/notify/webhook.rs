//! The webhook: JSON by POST, signed as Standard Webhooks describes
//! (`spec/4-negotiation.md#N-111`).
//!
//! `webhook-signature` is `v1,` and the HMAC-SHA256, in Base64, over the id, the
//! time and the body with points in between. Whoever receives it can tell that
//! it came from this node, when, and whether it came before.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use reqwest::{Client, StatusCode};

use crate::clock;
use crate::config;
use crate::failure::Failure;
use crate::outbound;

/// How long to wait before each further try.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(25),
];

/// What a secret begins with in its usual form.
const PREFIX: &str = "whsec_";

/// The shortest and the longest secret, in bytes, of Standard Webhooks.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The owner's endpoint.
pub(super) struct Webhook {
    client: Client,
    url: String,
    key: EncodingKey,
}

impl fmt::Debug for Webhook {
    /// Without the key, and without the address: such addresses are often secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn new(settings: &config::Notify, home: &Path) -> Result<Option<Self>, Failure> {
        let failed = |e: &dyn fmt::Display| Failure::own("notify", format!("[notify]: {e}"));
        let (Some(url), Some(file)) = (&settings.webhook, &settings.secret_file) else {
            return Ok(None);
        };
        let file = home.join(file);
        let text = std::fs::read_to_string(&file)
            .map_err(|e| failed(&format!("{}: {e}", file.display())))?;
        let secret = secret(text.trim()).ok_or_else(|| {
            failed(&format!(
                "{}: is no secret: write 'whsec_' and 24 to 64 random bytes in Base64",
                file.display()
            ))
        })?;
        let client = outbound::client(outbound::system_roots());
        Ok(Some(Self {
            client: client.map_err(|e| failed(&e))?,
            url: url.clone(),
            key: EncodingKey::from_secret(&secret),
        }))
    }

    /// Tells the endpoint, and tries again a few times while it does not take it.
    pub(super) async fn deliver(&self, id: &str, body: &[u8]) {
        let mut pauses = PAUSES.iter();
        loop {
            let (why, is_wanted) = match self.post(id, body).await {
                Ok(status) if status.is_success() => return,
                // With 410 it says that it wants no more.
                Ok(status) => (status.to_string(), status != StatusCode::GONE),
                // Without the address, which may be a secret.
                Err(error) => (error, true),
            };
            match pauses.next().filter(|_| is_wanted) {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => {
                    tracing::warn!(id, why, "the webhook did not take a notice");
                    return;
                }
            }
        }
    }

    async fn post(&self, id: &str, body: &[u8]) -> Result<StatusCode, String> {
        let at = clock::now().as_secs().to_string();
        let signature = signature(&self.key, id, &at, body).ok_or("cannot be signed")?;
        let sent = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", format!("v1,{signature}"))
            .body(body.to_vec())
            .send()
            .await;
        // The body of the answer is not read.
        let answer = sent.map_err(|e| e.without_url().to_string())?;
        Ok(answer.status())
    }
}

/// The bytes of a secret in the form that Standard Webhooks gives it.
fn secret(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix(PREFIX).unwrap_or(text);
    let bytes = STANDARD.decode(text).ok()?;
    SECRET_BYTES.contains(&bytes.len()).then_some(bytes)
}

/// HMAC-SHA256 over `id.at.body`, in Base64.
fn signature(key: &EncodingKey, id: &str, at: &str, body: &[u8]) -> Option<String> {
    let mut message = format!("{id}.{at}.").into_bytes();
    message.extend_from_slice(body);
    // A JWS's HS256 is this HMAC; only its alphabet is another one.
    let mac = jsonwebtoken::crypto::sign(&message, key, Algorithm::HS256).ok()?;
    let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
    Some(STANDARD.encode(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's libraries.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let secret = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let key = EncodingKey::from_secret(&secret);
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        let expected = "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed.as_deref(), Some(expected));
    }

    #[test]
    fn a_secret_is_long_enough() {
        assert!(secret(&STANDARD.encode([7; 24])).is_some());
        assert!(secret(&STANDARD.encode([7; 23])).is_none());
        assert!(secret("whsec_not base64").is_none());
    }
}
