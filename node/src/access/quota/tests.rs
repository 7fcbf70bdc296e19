//! What is taken, kept over a restart, and refused.

use comity_protocol::terms::Quota;

use super::*;

fn metering(limits: Limits) -> Metering {
    Metering::new(limits, Arc::default(), &[], clock::now())
}

fn a_day(quota: Quota) -> Limits {
    Limits {
        per: [(Window::Day, quota)].into(),
        ..Limits::default()
    }
}

/// What the journal has of an answer: its beginning, or its end with these `rows`.
fn record(org: OrgId, trace: &str, rows: Option<u64>) -> Delivery {
    Delivery {
        trace: trace.to_owned(),
        org,
        subject: String::new(),
        agreement: None,
        purpose: None,
        query: Digest::of(b"query"),
        plan: None,
        snapshot: None,
        grant: None,
        direct: None,
        budgets: Vec::new(),
        reserved: None,
        rows,
        bytes: rows,
        content: None,
        ended: None,
        policy: None,
        at: clock::now(),
    }
}

#[test]
fn no_number_of_parallel_answers_takes_more_than_the_quota() {
    let metering = Arc::new(metering(a_day(Quota {
        rows: Some(1_000),
        ..Quota::default()
    })));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let metering = Arc::clone(&metering);
            std::thread::spawn(move || {
                (0..100)
                    .filter(|_| metering.take((0, 0), 7, 1).is_ok())
                    .count()
            })
        })
        .collect();
    let taken: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!(taken, 1_000 / 7);
    let over = metering.take((0, 0), 7, 0).unwrap_err();
    assert_eq!(over.code, "quota");
    assert!(over.retry_after.is_some_and(|s| s > 0 && s <= 86_400));
    assert!(metering.take((0, 0), 6, 0).is_ok(), "what is left is left");
}

#[test]
fn queries_are_counted_when_they_begin_and_running_ones_when_they_end() {
    let mut limits = a_day(Quota {
        queries: Some(3),
        ..Quota::default()
    });
    limits.max_concurrent = Some(1);
    let metering = metering(limits);
    metering.begin().unwrap();
    assert_eq!(metering.begin().unwrap_err().code, "quota");
    metering.end();
    for _ in 0..2 {
        metering.begin().unwrap();
        metering.end();
    }
    assert_eq!(metering.begin().unwrap_err().code, "quota");
}

#[test]
fn limits_of_one_query_count_that_query_alone() {
    let metering = metering(Limits {
        max_rows_per_query: Some(10),
        max_bytes_per_query: Some(100),
        ..Limits::default()
    });
    assert!(metering.take((0, 0), 10, 100).is_ok());
    assert!(metering.take((0, 0), 10, 100).is_ok());
    assert_eq!(
        metering.take((10, 0), 1, 0).unwrap_err().code,
        "too-many-rows"
    );
    assert_eq!(
        metering.take((0, 100), 0, 1).unwrap_err().code,
        "too-many-bytes"
    );
}

fn budget(link: &[u8], rows: u64) -> Budget {
    Budget {
        link: Digest::of(link),
        rows,
        expires: clock::now().saturating_add(MAX_LIFETIME),
    }
}

#[test]
fn a22_a_links_budget_is_shared_by_all_its_answers_and_all_links_after_it() {
    let account = Arc::new(Mutex::new(Account::default()));
    let under = |links: &[Budget]| {
        let account = Arc::clone(&account);
        Metering::new(Limits::default(), account, links, clock::now())
    };
    let first = budget(b"first", 100);
    let (one, other) = (budget(b"one", 70), budget(b"other", 70));
    under(&[first, one]).take((0, 0), 70, 0).unwrap();
    let over = under(&[first, one]).take((0, 0), 1, 0).unwrap_err();
    assert_eq!((over.code, over.retry_after), ("too-many-rows", None));
    assert!(
        under(&[first, other]).take((0, 0), 31, 0).is_err(),
        "a second link does not double the first one's budget"
    );
    under(&[first, other]).take((0, 0), 30, 0).unwrap();
    assert!(under(&[first]).take((0, 0), 1, 0).is_err());
    assert!(under(&[first]).take((0, 0), 0, 1).is_ok(), "an empty batch");
    assert!(under(&[]).take((0, 0), 1_000, 0).is_ok(), "another grant");
}

#[test]
fn links_that_ended_make_room_and_others_do_not() {
    let account = Arc::new(Mutex::new(Account::default()));
    let now = clock::now();
    let later = now.saturating_add(2 * MAX_LIFETIME);
    let held = lock(&account).spent(&Digest::of(b"held"), now, now);
    for n in 1..MAX_BUDGETS as u64 {
        let link = Digest::of(&n.to_be_bytes());
        assert!(lock(&account).spent(&link, now, now).is_some());
    }
    let more = [budget(b"more", 1)];
    let full = Metering::new(Limits::default(), Arc::clone(&account), &more, now);
    assert_eq!(full.begin().unwrap_err().code, "quota");
    let room = Metering::new(Limits::default(), Arc::clone(&account), &more, later);
    assert!(room.begin().is_ok());
    assert_eq!(lock(&account).links.len(), 2, "and the one in use stays");
    drop(held);
}

#[test]
fn a_window_begins_anew_and_knows_when() {
    let limits = a_day(Quota {
        bytes: Some(10),
        ..Quota::default()
    });
    let mut account = Account::default();
    let noon = 20_000 * 86_400 + 43_200;
    account.add(Taken([1, 1, 10]), noon);
    let over = account.fits(Taken([0, 0, 1]), &limits, noon).unwrap_err();
    assert_eq!(over.retry_after, Some(43_200));
    assert!(account.fits(Taken([1, 5, 0]), &limits, noon).is_ok());
    assert!(
        account
            .fits(Taken([0, 0, 10]), &limits, noon + 43_200)
            .is_ok()
    );
    assert!(
        account
            .fits(Taken([0, 0, 11]), &limits, noon + 43_200)
            .is_err()
    );
}

#[test]
fn closed_hours_say_when_they_open() {
    let limits = Limits {
        hours: Some([8].into()),
        ..Limits::default()
    };
    let midnight = 20_000 * 86_400;
    let closed = Account::default().fits(Taken::default(), &limits, midnight);
    let closed = closed.unwrap_err();
    assert_eq!(
        (closed.code, closed.retry_after),
        ("closed", Some(8 * 3_600))
    );
    let eight = midnight + 8 * 3_600;
    assert!(
        Account::default()
            .fits(Taken::default(), &limits, eight)
            .is_ok()
    );
}

#[test]
fn what_the_journal_tells_is_taken() {
    let quotas = Quotas::default();
    let now = clock::now();
    let org = OrgId::from_inception(Digest::of(b"org"));
    let reader = (org, "visits".to_owned());
    // Of two agreements over one product.
    let delivery = |rows: Option<u64>| Delivery {
        agreement: Some(Digest::of(&[u8::from(rows.is_some())])),
        bytes: rows.map(|r| r * 8),
        ..record(org, "trace", rows)
    };
    let mut open = HashMap::new();
    let mut remember = |delivery: &Delivery, reader: Reader| {
        quotas.remember(delivery, reader, &mut open);
    };
    remember(&delivery(None), reader.clone());
    let budgets = vec![Digest::of(b"link")];
    let ended = Delivery {
        budgets,
        ..delivery(Some(90))
    };
    remember(&ended, reader.clone());
    remember(&delivery(Some(1_000)), (org, "other".to_owned()));
    let account = quotas.account(reader);
    let taken = lock(&account).in_window(Window::Day, now.as_secs());
    assert_eq!(taken.0, [1, 90, 720]);
    let link = budget(b"link", 91);
    let metering = Metering::new(Limits::default(), account, &[link], now);
    assert!(metering.take((0, 0), 2, 0).is_err(), "90 of 91 are spent");
    assert!(metering.take((0, 0), 1, 0).is_ok());
}

/// Regression: the rows of an answer that a crash broke off were not taken.
#[test]
fn what_was_reserved_is_taken_when_the_node_ended_first() {
    let limits = a_day(Quota {
        rows: Some(1_600),
        ..Quota::default()
    });
    let reserved = metering(limits.clone()).reserve(0, 0).unwrap();
    assert_eq!((reserved.rows, reserved.bytes), (Some(101), None));
    assert!(reserved.covers(101, u64::MAX) && !reserved.covers(102, 0));
    assert_eq!(metering(limits).reserve(300, 0).unwrap().rows, Some(401));
    assert_eq!(metering(Limits::default()).reserve(1, 1), None);

    let now = clock::now();
    let org = OrgId::from_inception(Digest::of(b"org"));
    let reader = (org, "visits".to_owned());
    let record = |trace: &str, rows: Option<u64>, ended: Option<&str>| Delivery {
        reserved: Some(reserved).filter(|_| rows.is_none()),
        ended: ended.map(str::to_owned),
        ..record(org, trace, rows)
    };
    let (quotas, mut open) = (Quotas::default(), HashMap::new());
    for told in [
        record("whole", None, None),
        record("whole", None, None),
        record("whole", Some(7), None),
        record("broken", None, None),
        record("broken", Some(0), Some(INTERRUPTED)),
    ] {
        quotas.remember(&told, reader.clone(), &mut open);
    }
    let account = quotas.account(reader);
    let taken = lock(&account).in_window(Window::Day, now.as_secs());
    assert_eq!(taken.0, [2, 7 + 101, 7]);
}
