//! The header of a token: which key it claims to be signed with.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::{MAX_TOKEN_BYTES, Refusal};

/// The longest key id, in bytes.
const MAX_KID_BYTES: usize = 256;

/// What of a header counts. Keys and addresses of keys in it (`jwk`, `jku`,
/// `x5u`, `x5c`) are not even read: whoever made the token wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: String,
}

#[derive(Deserialize)]
struct Written {
    alg: Algorithm,
    kid: String,
    typ: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

impl Header {
    /// Reads the header of `token`. Nothing of it is verified.
    pub(super) fn read(token: &str) -> Result<Self, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(_), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::Form("not three parts"));
        };
        let header = URL_SAFE_NO_PAD.decode(header);
        let header = header.map_err(|_| Refusal::Form("the header is not base64url"))?;
        // `none` is no algorithm to the crate's type, and so ends here.
        let header: Written = serde_json::from_slice(&header)
            .map_err(|_| Refusal::Form("the header has no known `alg` or no `kid`"))?;
        if header.crit.is_some() {
            return Err(Refusal::Form(
                "it is critical to know more than this node does",
            ));
        }
        // Tokens of other kinds have other rules: a logout token of the same
        // issuer and audience must not log anybody in (RFC 8725, section 3.11).
        let typ = header.typ.as_deref().unwrap_or("JWT");
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        if !typ.eq_ignore_ascii_case("JWT") && !typ.eq_ignore_ascii_case("at+jwt") {
            return Err(Refusal::Form("`typ` is neither JWT nor at+jwt"));
        }
        if !(1..=MAX_KID_BYTES).contains(&header.kid.len()) {
            return Err(Refusal::Form("`kid` has 1 to 256 bytes"));
        }
        Ok(Self {
            algorithm: header.alg,
            kid: header.kid,
        })
    }
}
