//! What two organizations say to each other and sign (A6, A9, A48,
//! `spec/4-negotiation.md`, `spec/6-evidence.md`). The first character says what the
//! payload behind it is, and who signs it.

use comity_identity::Digest;
use comity_identity::envelope::Typ;
use comity_protocol::checkpoint::{CHECKPOINT, Checkpoint};
use comity_protocol::invitation::{INVITATION, Invitation, PREFIX};
use comity_protocol::negotiation::{AGREEMENT, FEDERATION, MESSAGE, Message, SignedDocument};
use comity_protocol::receipt::{
    Answer, DISPUTE, Dispute, MAX_DELIVERIES, RECEIPT, Receipt, SignedReceipt, StatedReceipt,
};
use comity_protocol::revocation::{REVOCATION, Revocation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::world::{self, Both, CONSUMER, NOW, PROTOCOL_TEXTS, PROVIDER, Party};

pub(crate) fn law(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    let mut chars = text.chars();
    let (Some(kind), body) = (chars.next(), chars.as_str()) else {
        return;
    };
    match kind {
        'n' => message(body, &CONSUMER, &PROVIDER, data),
        'N' => message(body, &PROVIDER, &CONSUMER, data),
        'a' => document(AGREEMENT, body, data),
        'f' => document(FEDERATION, body, data),
        'c' => receipt(body, data),
        'x' => dispute(body, data),
        'k' => checkpoint(body, data),
        'v' => revocation(body, data),
        'i' => {
            let inner = world::compact(INVITATION, body.as_bytes(), PROVIDER.key("agree"));
            invitation(&format!("{PREFIX}{inner}"), data);
        }
        'I' => invitation(body, data),
        _ => {}
    }
}

fn message(body: &str, from: &Party, other: &Party, data: &[u8]) {
    let verify = |text: &str| Message::verify(text, &from.org(), &Both, NOW);
    let Some(text) = said(MESSAGE, body, from, data, |text| verify(text).is_ok()) else {
        return;
    };
    let message = verify(&text).expect("it was verified");
    assert!(Message::verify(&text, &other.org(), &Both, NOW).is_err());
    let claimed = Message::claimed(&text).expect("it was verified");
    assert_eq!(claimed, (from.org(), message.negotiation));
    same(&message);
    if let Ok(own) = message.sign(from.key("agree")) {
        assert_eq!(
            verify(&own).as_ref(),
            Ok(&message),
            "what leaves is refused"
        );
    }
}

fn document(typ: Typ, body: &str, data: &[u8]) {
    let (provider, consumer) = (PROVIDER.key("agree"), CONSUMER.key("agree"));
    let text = world::general(typ, body.as_bytes(), &[provider, consumer]);
    let Ok(signed) = SignedDocument::verify(typ, &text, &Both, NOW) else {
        return;
    };
    assert!(text.len() <= typ.limit());
    assert_eq!(signed.digest(), Digest::of(body.as_bytes()));
    same(signed.document());
    let recalled = SignedDocument::recall(typ, &text).expect("it was verified");
    assert_eq!(recalled.document(), signed.document());
    let others: [&[_]; 4] = [
        &[provider],
        &[consumer],
        &[provider, CONSUMER.key("announce")],
        &[provider, consumer, PROVIDER.key("announce")],
    ];
    for signers in others {
        let text = world::general(typ, body.as_bytes(), signers);
        assert!(SignedDocument::verify(typ, &text, &Both, NOW).is_err());
    }
    let other = if typ == AGREEMENT {
        FEDERATION
    } else {
        AGREEMENT
    };
    assert!(SignedDocument::verify(other, &text, &Both, NOW).is_err());
    for changed in world::tampered(&text, data) {
        if let Ok(read) = SignedDocument::verify(typ, &changed, &Both, NOW) {
            assert_eq!(read.digest(), signed.digest(), "other content (A48)");
        }
    }
}

fn receipt(body: &str, data: &[u8]) {
    let agreement = &PROTOCOL_TEXTS["agreement"];
    let agreement = SignedDocument::verify(AGREEMENT, agreement, &Both, NOW).expect("honest");
    let of = (agreement.digest(), agreement.document());
    let (provider, consumer) = (PROVIDER.key("agree"), CONSUMER.key("agree"));
    let half = world::general(RECEIPT, body.as_bytes(), &[provider]);
    let whole = world::general(RECEIPT, body.as_bytes(), &[provider, consumer]);
    assert!(SignedReceipt::verify(&half, of, &Both, NOW).is_err());
    assert!(StatedReceipt::verify(&whole, of, &Both, NOW).is_err());
    let Ok(stated) = StatedReceipt::verify(&half, of, &Both, NOW) else {
        return;
    };
    let receipt = stated.receipt().clone();
    let id = stated.digest();
    assert_eq!(Receipt::recall(&half), Ok((receipt.clone(), id)));
    assert!((1..=MAX_DELIVERIES).contains(&receipt.deliveries.len()));
    same(&receipt);
    if let Ok(own) = receipt.sign(provider) {
        let own = StatedReceipt::verify(&own, of, &Both, NOW).expect("what leaves is refused");
        assert_eq!(own.receipt(), &receipt);
    }
    for changed in world::tampered(&half, data) {
        if let Ok(read) = StatedReceipt::verify(&changed, of, &Both, NOW) {
            assert_eq!(read.digest(), id, "other content under the signature");
        }
    }
    // A consumer that received nothing vouches for nothing that was delivered.
    let nothing = receipt
        .deliveries
        .iter()
        .all(|d| d.direct.is_none() && d.ended.is_some() && d.rows == 0 && d.bytes == 0);
    match stated
        .answer(|_| None, |_| None, consumer, NOW)
        .expect("counts of nobody")
    {
        Answer::Countersigned(text) => {
            assert!(nothing, "a countersignature of what was not received");
            let signed = SignedReceipt::verify(&text, of, &Both, NOW).expect("both signed");
            assert_eq!(signed.receipt(), &receipt);
        }
        Answer::Disputed(text) => {
            assert!(!nothing);
            let about = (of.0, id);
            Dispute::verify(&text, &CONSUMER.org(), about, &Both, NOW).expect("honest");
        }
    }
}

fn dispute(body: &str, data: &[u8]) {
    let (receipt, id) = Receipt::recall(&PROTOCOL_TEXTS["receipt-half"]).expect("honest");
    let of = (receipt.agreement, id);
    let verify = |text: &str| Dispute::verify(text, &CONSUMER.org(), of, &Both, NOW);
    let Some(text) = said(DISPUTE, body, &CONSUMER, data, |text| verify(text).is_ok()) else {
        return;
    };
    let dispute = verify(&text).expect("it was verified");
    same(&dispute);
    let own = dispute
        .sign(CONSUMER.key("agree"))
        .expect("it was verified");
    assert_eq!(verify(&own), Ok(dispute), "what leaves is refused");
}

fn checkpoint(body: &str, data: &[u8]) {
    let verify = |text: &str| Checkpoint::verify(text, &PROVIDER.org(), &Both, NOW);
    let Some(text) = said(CHECKPOINT, body, &PROVIDER, data, |text| {
        verify(text).is_ok()
    }) else {
        return;
    };
    let checkpoint = verify(&text).expect("it was verified");
    same(&checkpoint);
    let own = checkpoint
        .sign(PROVIDER.key("agree"))
        .expect("it was verified");
    assert_eq!(verify(&own), Ok(checkpoint), "what leaves is refused");
}

fn revocation(body: &str, data: &[u8]) {
    let verify = |text: &str| Revocation::verify(text, &PROVIDER.org(), &Both, NOW);
    let Some(text) = said(REVOCATION, body, &PROVIDER, data, |text| {
        verify(text).is_ok()
    }) else {
        return;
    };
    let revocation = verify(&text).expect("it was verified");
    same(&revocation);
    let own = revocation
        .sign(PROVIDER.key("agree"))
        .expect("it was verified");
    assert_eq!(verify(&own), Ok(revocation), "what leaves is refused");
}

fn invitation(text: &str, data: &[u8]) {
    let Ok(invitation) = Invitation::open(text, NOW) else {
        return;
    };
    same(&invitation);
    if invitation.org == PROVIDER.org() {
        let own = invitation
            .sign(PROVIDER.key("agree"))
            .expect("it was verified");
        assert_eq!(
            Invitation::open(&own, NOW),
            Ok(invitation),
            "what leaves is refused"
        );
    }
    for changed in world::tampered(text, data) {
        assert!(
            Invitation::open(&changed, NOW).is_err(),
            "one bit changed and it opens"
        );
    }
}

/// The envelope around `payload` that `from` signed, if it is accepted. Nobody
/// else can say it, and no bit of it can change.
fn said(
    typ: Typ,
    payload: &str,
    from: &Party,
    data: &[u8],
    accepted: impl Fn(&str) -> bool,
) -> Option<String> {
    let text = world::compact(typ, payload.as_bytes(), from.key("agree"));
    if !accepted(&text) {
        return None;
    }
    assert!(text.len() <= typ.limit());
    let other = if from.org() == PROVIDER.org() {
        &*CONSUMER
    } else {
        &*PROVIDER
    };
    for stranger in [from.key("announce"), other.key("agree")] {
        let forged = world::compact(typ, payload.as_bytes(), stranger);
        assert!(!accepted(&forged), "a key without the role speaks");
    }
    for changed in world::tampered(&text, data) {
        assert!(!accepted(&changed), "one bit changed and it verifies");
    }
    Some(text)
}

/// What is written is read as the same.
fn same<T: Serialize + DeserializeOwned + PartialEq + core::fmt::Debug>(it: &T) {
    let written = serde_json::to_string(it).expect("JSON");
    assert_eq!(
        &serde_json::from_str::<T>(&written).expect("its own JSON"),
        it
    );
}
