//! How this organization comes to another with an invitation.

use std::sync::Arc;
use std::time::Duration;

use comity_protocol::invitation::{Invitation, InvitationError};
use comity_protocol::wire::{InvitationProof, RefusalCode, Request, Response};

use super::Node;
use crate::access::{Meeting, Partner};
use crate::admin::api;
use crate::clock;
use crate::failure::{Failure, Fault};
use crate::network::{self, RequestError};

/// How often the first Hello is said while the other node closes the connection.
const FIRST_HELLOS: u32 = 4;

/// How long to wait before it is said again, so that both nodes have seen the
/// end of the connection of before.
const HELLO_PAUSE: Duration = Duration::from_millis(500);

impl Node {
    /// Uses an invitation: meets the inviter, and signs a federation with it.
    pub async fn join(self: &Arc<Self>, ask: api::Join) -> Result<api::Joined, Failure> {
        let now = clock::now();
        let invitation = Invitation::open(&ask.code, now).map_err(|e| bad_invitation(&e))?;
        if invitation.org == self.own.org() {
            return Err(Failure::caller(
                "own-invitation",
                "the invitation is this organization's own",
            ));
        }
        let peer = network::peer_id(&invitation.peer_id)
            .ok_or_else(|| Failure::caller("bad-invitation", "the invitation names no node"))?;
        let id = Invitation::id(&ask.code);
        // spec/6-evidence.md#V-3: joining a known organization again leaves no other record.
        self.administered("join", invitation.org).await?;
        let meeting = Meeting {
            org: invitation.org,
            given_alias: ask.alias,
            own_alias: invitation.alias.clone(),
            peer_id: invitation.peer_id.clone(),
            addresses: invitation.addresses.clone(),
            invitation: id,
        };
        let partner = self
            .partners
            .introduce(invitation.evidence(), meeting)
            .await?;
        let addresses = network::addresses(&invitation.addresses);
        self.let_in(&partner.org).await;
        let proof = InvitationProof {
            invitation: id,
            secret: invitation.secret,
        };
        let hello = Request::Hello(Box::new(self.hello(false, Some(proof))));
        let answer = until_it_stays(HELLO_PAUSE, || {
            self.network.request(peer, addresses.clone(), hello.clone())
        });
        match answer.await {
            Ok(Response::Hello(hello)) => self.heard_hello(&partner.org, *hello).await,
            Ok(_) => {
                return Err(Failure::partner(
                    "bad-answer",
                    &partner.alias,
                    RequestError::Unexpected,
                ));
            }
            Err(error) => return Err(unanswered(&partner.alias, &error)),
        }
        if partner.is_federated(now)
            && let Some(federation) = partner.federation
        {
            return Ok(joined(partner, federation));
        }
        let asked = self
            .negotiations
            .ask_federation(partner.org, id, invitation.roles);
        let negotiation = asked.await?;
        match self.partners.get(&partner.org).and_then(|p| p.federation) {
            Some(federation) => Ok(joined(partner, federation)),
            None => Err(Failure::new(
                Fault::Conflict,
                "not-signed-yet",
                format!(
                    "{} has not signed: the negotiation is {}",
                    partner.alias, negotiation.state
                ),
            )
            .next("see how it stands with 'comity requests'")),
        }
    }
}

fn joined(partner: Partner, federation: comity_identity::Digest) -> api::Joined {
    api::Joined {
        org: partner.org,
        alias: partner.alias,
        federation,
    }
}

/// Asks again while the other node closes the connection, [`FIRST_HELLOS`] times in all,
/// with a `pause` in between.
///
/// A node lets go of those that it does not allow, and this one may have been
/// among them until the invitation was used: one that was restarted tells once
/// more that the federation of before has ended, and then cuts that connection,
/// on which the Hello may be under way already. The invitation is as good
/// as before: it counts again for whoever used it.
async fn until_it_stays<A>(
    pause: Duration,
    mut ask: impl FnMut() -> A,
) -> Result<Response, RequestError>
where
    A: Future<Output = Result<Response, RequestError>>,
{
    let mut answer = ask().await;
    for _ in 1..FIRST_HELLOS {
        if !matches!(answer, Err(RequestError::Closed)) {
            break;
        }
        tokio::time::sleep(pause).await;
        answer = ask().await;
    }
    answer
}

fn bad_invitation(error: &InvitationError) -> Failure {
    Failure::caller("bad-invitation", error.to_string())
        .next("ask the other organization for a new text from 'comity invite'")
}

fn unanswered(alias: &str, error: &RequestError) -> Failure {
    if matches!(
        error,
        RequestError::Refused {
            code: RefusalCode::InvitationInvalid,
            ..
        }
    ) {
        let why = "the invitation was used by somebody else or has expired";
        return Failure::partner("invitation-refused", alias, why)
            .next("ask the other organization for a new text from 'comity invite'");
    }
    Failure::partner("no-answer", alias, error).next(
        "check that the other node is up and reachable at the addresses in its invitation, then join again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is answered to the n-th Hello, and how often it was said.
    async fn said(answers: impl Fn(u32) -> Result<Response, RequestError>) -> (bool, u32) {
        let mut said = 0;
        let answer = until_it_stays(Duration::ZERO, || {
            said += 1;
            std::future::ready(answers(said))
        });
        (answer.await.is_ok(), said)
    }

    /// Regression: joining an organization again, right after its restart,
    /// failed when it cut the connection of before under the Hello.
    #[tokio::test]
    async fn a_hello_that_is_cut_off_is_said_again_a_few_times() {
        let closed = || Err(RequestError::Closed);
        let revoked = || Ok(Response::Revoked);
        assert_eq!(said(|_| revoked()).await, (true, 1));
        let late = |n| if n < 3 { closed() } else { revoked() };
        assert_eq!(said(late).await, (true, 3));
        assert_eq!(said(|_| closed()).await, (false, FIRST_HELLOS));
        let away = |_| Err(RequestError::Unreachable("nobody".to_owned()));
        assert_eq!(said(away).await, (false, 1), "it says where it looked");
    }
}
