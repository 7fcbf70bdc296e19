//! Whose keys count under what both sides sign: the partners' and our own.

use comity_identity::keyring::Keyring;
use comity_identity::organization::Role;
use comity_identity::{KeyId, OrgId, PublicKey, Timestamp};
use comity_protocol::keys::IssuerKeys;

use crate::own::Own;

/// The keyring, and this organization's own document, which is not in it: the
/// keyring is what others say of themselves.
pub(crate) struct Issuers<'a> {
    pub(crate) own: &'a Own,
    pub(crate) keyring: &'a Keyring,
}

impl IssuerKeys for Issuers<'_> {
    fn issuer(&self, org: &OrgId, kid: &KeyId, role: Role, now: Timestamp) -> Option<PublicKey> {
        if *org == self.own.org() {
            return self.own.current().document.issuer(kid, role, now).copied();
        }
        IssuerKeys::issuer(self.keyring, org, kid, role, now)
    }
}
