//! Grant chains (A2 to A4, `spec/2-identity.md`, section 5). After `r` each line is a
//! link as it arrives; after `s` each line is a payload, the first signed by the
//! issuer, each further one by the holder before it.

use comity_identity::Digest;
use comity_identity::grant::{Chain, GRANT, Grant, MAX_LIFETIME, MAX_LINKS, VerifiedGrant};
use serde_json::Value;

use super::world::{self, AUDIENCE, LONE, NOW, is_published};

pub(crate) fn law(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    if let Some(lines) = text.strip_prefix('r') {
        let links: Vec<_> = lines.lines().map(str::to_owned).collect();
        if let Ok(grant) = Chain::verify(&links, &LONE.document, *AUDIENCE, NOW) {
            assert!(links.iter().all(|l| is_published(l)), "a forged link");
            holds(&grant, &links);
        }
        // As its holder reads it, without anybody's document.
        let _ = Chain::from_links(links).check_offline();
    } else if let Some(lines) = text.strip_prefix('s') {
        signed(lines, data);
    }
}

fn signed(lines: &str, data: &[u8]) {
    let mut links: Vec<String> = Vec::new();
    let mut signer = LONE.key("issuer");
    for line in lines.lines().take(MAX_LINKS + 1) {
        let payload = following(line, links.last());
        links.push(world::compact(GRANT, payload.as_bytes(), signer));
        let next = serde_json::from_str::<Grant>(&payload).ok();
        let next = next.and_then(|grant| LONE.secret_of(&grant.cnf));
        signer = next.unwrap_or_else(|| LONE.key("thief"));
    }
    let Ok(grant) = Chain::verify(&links, &LONE.document, *AUDIENCE, NOW) else {
        return;
    };
    holds(&grant, &links);
    // A3: at another provider it is nothing.
    assert!(Chain::verify(&links, &LONE.document, LONE.org(), NOW).is_err());
    let (last, before) = links.split_last().expect("a chain has a link");
    for changed in world::tampered(last, data) {
        let mut other = before.to_vec();
        other.push(changed);
        assert!(Chain::verify(&other, &LONE.document, *AUDIENCE, NOW).is_err());
    }
    // What the holder makes of it by the honest way is verified as well.
    let offline = Chain::from_links(links.clone());
    let read = offline.check_offline().expect("it was verified");
    let mut child = read.last().expect("a chain has a link").clone();
    child.jti = "fuzz".to_owned();
    if let Some(holder) = LONE.secret_of(grant.holder()) {
        match offline.narrow(child, holder) {
            Ok(longer) => {
                let longer = longer.links().to_vec();
                let grant = Chain::verify(&longer, &LONE.document, *AUDIENCE, NOW);
                holds(&grant.expect("an honest link"), &longer);
            }
            // A link fills its 8 KiB, or the chain its four links.
            Err(_) => assert!(links.len() == MAX_LINKS || last.len() > GRANT.limit() / 2),
        }
    }
}

/// The payload with the `prt` of a next link. One that is no object, or begins
/// with `!`, stays as it is.
fn following(payload: &str, before: Option<&String>) -> String {
    match (serde_json::from_str(payload), before) {
        (Ok(Value::Object(mut grant)), Some(before)) => {
            let parent = Digest::of(before.as_bytes());
            grant.insert("prt".to_owned(), parent.to_string().into());
            Value::Object(grant).to_string()
        }
        _ => payload.trim_start_matches('!').to_owned(),
    }
}

/// What every verified chain is: no more than any of its links (A4).
fn holds(grant: &VerifiedGrant, links: &[String]) {
    assert!((1..=MAX_LINKS).contains(&links.len()));
    let chain = Chain::from_links(links.to_vec());
    let read = chain.check_offline().expect("it was verified");
    assert_eq!(grant.ids().len(), links.len());
    let last = links.last().expect("a chain has a link");
    assert_eq!(grant.digest(), Digest::of(last.as_bytes()));
    let filters: usize = read.iter().map(|g| g.filter.len()).sum();
    assert_eq!(grant.filters().len(), filters);
    for (at, link) in read.iter().enumerate() {
        assert_eq!(link.narrows(link), Ok(()), "narrowing is reflexive");
        assert!(link.exp.since(link.nbf) <= MAX_LIFETIME);
        assert!(grant.expires() <= link.exp && grant.not_before() >= link.nbf);
        assert_eq!((grant.issuer(), grant.audience()), (link.iss, link.aud));
        assert_eq!((grant.agreement(), grant.subject()), (link.agr, &*link.sub));
        assert!(grant.purposes().is_subset(&link.purpose));
        assert!(grant.roles().is_subset(&link.roles));
        assert!(grant.authentication().is_subset(&link.amr));
        if let Some(tables) = &link.tables {
            assert!(grant.tables().is_some_and(|t| t.is_subset(tables)));
        }
        for (table, columns) in link.cols.iter().flatten() {
            assert!(grant.columns(table).is_some_and(|c| c.is_subset(columns)));
        }
        if let Some(rows) = link.max_rows {
            assert!(grant.budgets().iter().any(|b| b.rows <= rows));
        }
        // Any later link is narrower than any earlier one.
        for earlier in read.iter().take(at) {
            assert_eq!(link.narrows(earlier), Ok(()), "narrowing is transitive");
        }
        let written = serde_json::to_string(link).expect("JSON");
        assert_eq!(
            &serde_json::from_str::<Grant>(&written).expect("its own JSON"),
            link
        );
    }
    assert_eq!(grant.holder().id(), read[read.len() - 1].cnf.id());
}
