use std::time::Duration;

use comity_protocol::invitation::Invitation;
use comity_protocol::wire::InvitationProof;
use tempfile::TempDir;

use super::*;
use crate::admin::api;
use crate::founding::{Plan, found};
use crate::home::Home;
use crate::keys::Keys;
use crate::ledger::Marks;
use crate::{index, journal};

/// A founded organization without a running node.
struct Site {
    own: Arc<Own>,
    partners: Partners,
    dir: TempDir,
}

impl Site {
    fn new(alias: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan {
            name: alias.to_owned(),
            alias: alias.to_owned(),
            node: "node-1".to_owned(),
            passphrase: None,
            free_ports: false,
        };
        let home = Home::at(dir.path());
        // Founding waits for the disk: not on a thread of the runtime.
        std::thread::scope(|s| s.spawn(|| found(&home, &plan)).join().unwrap()).unwrap();
        let (own, partners) = open(&dir, alias);
        Self { own, partners, dir }
    }

    /// The same after a restart.
    fn again(self) -> Self {
        let (alias, dir) = (self.own.alias().to_owned(), self.dir);
        self.partners.ledger.close().unwrap();
        drop((self.own, self.partners));
        let (own, partners) = open(&dir, &alias);
        Self { own, partners, dir }
    }

    fn org(&self) -> OrgId {
        self.own.org()
    }

    fn evidence(&self) -> keyring::Evidence {
        let evidence = self.own.evidence();
        keyring::Evidence {
            history: evidence.history,
            document: evidence.document,
        }
    }

    fn meeting(&self, wish: &str) -> Meeting {
        Meeting {
            org: self.org(),
            given_alias: None,
            own_alias: wish.to_owned(),
            peer_id: "peer".to_owned(),
            addresses: Vec::new(),
            invitation: Digest::of(b"invitation"),
        }
    }

    /// An invitation, as its guest shows it.
    async fn invites(&self, alias: Option<&str>) -> InvitationProof {
        let alias = alias.map(str::to_owned);
        let ask = api::Invite {
            alias,
            hours: 1,
            roles: Vec::new(),
        };
        let made = self.partners.invite(ask).await.unwrap();
        let opened = Invitation::open(&made.code, clock::now()).unwrap();
        InvitationProof {
            invitation: Invitation::id(&made.code),
            secret: opened.secret,
        }
    }

    async fn welcomes(
        &self,
        proof: &InvitationProof,
        guest: &Self,
    ) -> Result<Partner, WelcomeError> {
        let meeting = guest.meeting(guest.own.alias());
        self.partners
            .welcome(proof, guest.evidence(), meeting)
            .await
    }
}

fn open(dir: &TempDir, alias: &str) -> (Arc<Own>, Partners) {
    let home = Home::at(dir.path());
    let ledger = Ledger::open(
        &home,
        journal::Settings::default(),
        index::Settings::default(),
    );
    let ledger = Arc::new(ledger.unwrap());
    let keys = Keys::open(home.path()).unwrap();
    let own = Arc::new(Own::load(Arc::clone(&ledger), keys, alias).unwrap());
    let keyring = Keyring::open(Arc::new(Marks::new(Arc::clone(&ledger)))).unwrap();
    let partners = Partners::load(Arc::clone(&own), ledger, Arc::new(keyring)).unwrap();
    (own, partners)
}

/// Regression: the invitation was marked as used after two writes to the disk,
/// and until then everybody with the secret was let in.
#[tokio::test]
async fn an_invitation_is_for_one_guest_even_when_two_come_at_once() {
    let (host, one, two) = (Site::new("host"), Site::new("one"), Site::new("two"));
    let proof = host.invites(None).await;
    let (first, second) = tokio::join!(host.welcomes(&proof, &one), host.welcomes(&proof, &two));
    assert!(first.is_ok(), "{first:?}");
    assert!(
        matches!(second, Err(WelcomeError::Invitation)),
        "{second:?}"
    );
    assert!(host.partners.get(&two.org()).is_none());
    let roles = host.partners.roles_of_guest(&one.org(), &proof.invitation);
    assert_eq!(roles, Some(Vec::new()));
    // Its own first attempt may have been cut off.
    host.welcomes(&proof, &one).await.unwrap();
    let host = host.again();
    assert!(host.welcomes(&proof, &two).await.is_err());
}

/// Regression: two guests that called themselves the same at the same time got
/// one name, and a rule for the name covered both.
#[tokio::test]
async fn two_guests_with_one_name_get_two() {
    let (host, one, two) = (Site::new("host"), Site::new("same"), Site::new("same"));
    let (a, b) = (host.invites(None).await, host.invites(None).await);
    let (first, second) = tokio::join!(host.welcomes(&a, &one), host.welcomes(&b, &two));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.alias, "same");
    assert_eq!(second.alias, format!("same-{}", two.org().short()));
}

#[tokio::test]
async fn only_a_name_that_our_operator_gave_is_ours() {
    let (host, one, two) = (Site::new("host"), Site::new("one"), Site::new("two"));
    let (own, given) = (host.invites(None).await, host.invites(Some("guest")).await);
    assert!(!host.welcomes(&own, &one).await.unwrap().named_by_us());
    assert!(host.welcomes(&given, &two).await.unwrap().named_by_us());
    let host = host.again();
    assert!(!host.partners.by_alias("one").unwrap().named_by_us());
    assert!(host.partners.by_alias("guest").unwrap().named_by_us());
    // The operator takes over the name that the guest chose.
    let mut meeting = one.meeting("one");
    meeting.given_alias = Some("one".to_owned());
    let again = host.partners.introduce(one.evidence(), meeting).await;
    assert!(again.unwrap().named_by_us());
}

#[tokio::test]
async fn a_guest_does_not_take_a_name_that_another_invitation_promises() {
    let (host, thief) = (Site::new("host"), Site::new("port-authority"));
    let open = host.invites(None).await;
    host.invites(Some("port-authority")).await;
    let thief = host.welcomes(&open, &thief).await.unwrap();
    assert_ne!(thief.alias, "port-authority");
}

#[test]
fn a_partner_record_of_before_names_were_noted_is_not_ours() {
    let old = serde_json::json!({
        "org": "a".repeat(52), "alias": "old", "peer_id": "p", "addresses": [],
        "invitation": null, "at": 0,
    });
    let record: ledger::Partner = serde_json::from_value(old).unwrap();
    assert!(!Partner::recall(record).named_by_us());
}

/// Regression: a meeting wrote back the federation that it had read before it
/// waited for the disk.
#[tokio::test]
async fn a_federation_that_is_signed_during_a_meeting_stays() {
    let (host, guest) = (Site::new("host"), Site::new("guest"));
    let proof = host.invites(None).await;
    host.welcomes(&proof, &guest).await.unwrap();
    let until = clock::now().saturating_add(Duration::from_secs(60));
    let (again, ()) = tokio::join!(host.welcomes(&proof, &guest), async {
        let mut all = host.partners.write();
        let known = all.get_mut(&guest.org()).unwrap();
        known.recognize(Digest::of(b"federation"), terms(until));
    });
    assert!(again.unwrap().federation.is_some());
    assert!(
        host.partners
            .get(&guest.org())
            .unwrap()
            .is_federated(clock::now())
    );
}

/// Regression: the time that both signed was read by nobody.
#[tokio::test]
async fn a_federation_holds_until_the_time_that_both_signed() {
    let (host, guest) = (Site::new("host"), Site::new("guest"));
    let proof = host.invites(None).await;
    let mut partner = host.welcomes(&proof, &guest).await.unwrap();
    let now = clock::now();
    assert!(!partner.is_federated(now), "nothing is signed");
    let after = |seconds| now.saturating_add(Duration::from_secs(seconds));
    partner.recognize(Digest::of(b"federation"), terms(after(60)));
    assert!(partner.is_federated(after(59)));
    assert!(!partner.is_federated(after(60)));
    // A shorter one does not end the longer.
    partner.recognize(Digest::of(b"other"), terms(after(30)));
    assert!(partner.is_federated(after(59)));
    // Nor does it outlive the organization's document.
    partner.recognize(Digest::of(b"long"), terms(after(1 << 30)));
    let days = |n: u64| after(n * 24 * 60 * 60);
    assert!(partner.is_federated(days(8)), "stale documents go on");
    assert!(!partner.is_federated(days(15)));
}

/// The terms of a federation that holds until then.
fn terms(expires: Timestamp) -> FederationTerms {
    FederationTerms {
        roles: Vec::new(),
        assurance: vec!["local-token".to_owned()],
        expires,
    }
}
