//! Tickets: opaque handles of statements (A16, `spec/5-data-plane.md#D-112`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use comity_identity::{Digest, Timestamp};
use datafusion::scalar::ScalarValue;
use tokio_util::sync::CancellationToken;

use super::Denied;
use crate::query::{Partition, Snapshots};

/// How long a ticket may be redeemed, as often as its holder likes (`spec/5-data-plane.md#D-114`).
pub(super) const TICKET_TIME: Duration = Duration::from_secs(15 * 60);

/// The most live tickets of one caller; its oldest go first, and nobody
/// else's. A busy dashboard has a few dozen.
pub(super) const MAX_TICKETS_OF_ONE: usize = 256;

/// The most live tickets; then the caller with the most loses its oldest.
pub(super) const MAX_TICKETS: usize = 2048;

/// The most bytes of the statements and values of one caller's live tickets; its
/// oldest go first. Statements that tell keys have up to 256 KiB, others a few.
pub(super) const MAX_BYTES_OF_ONE: usize = 16 * 1024 * 1024;

/// Bytes of a handle.
const HANDLE_BYTES: usize = 16;

/// The live tickets of a listener.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<Live>);

#[derive(Debug, Default)]
struct Live {
    by_handle: HashMap<Vec<u8>, Ticket>,
    by_caller: BTreeMap<String, VecDeque<Vec<u8>>>,
}

/// What a ticket stands for: a statement, not a plan. A plan would keep the
/// rights of the moment it was made; the statement is planned again with the
/// rights of whoever redeems it.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    /// On whose account it is: a partner, or a member.
    caller: String,
    /// Who may redeem it: one holder of one grant of the caller's.
    pub(super) key: String,
    /// The statement.
    pub(super) statement: Statement,
    /// The schema that was announced for it.
    pub(super) schema: SchemaRef,
    /// In how many partitions its answer is read, each with a handle of its own.
    pub(super) partitions: Option<u16>,
    /// What its first answer read: the next ones read the same.
    pub(super) snapshots: Arc<Snapshots>,
    /// Until when.
    pub(super) expires: Timestamp,
    /// Fires when the ticket is ended by its holder: its streams end.
    pub(super) ended: CancellationToken,
}

impl Ticket {
    /// A ticket of `key`, on the account of `caller`, that nobody can redeem yet.
    pub(super) fn new(
        (caller, key): (&str, &str),
        statement: Statement,
        schema: SchemaRef,
        now: Timestamp,
    ) -> Self {
        Self {
            caller: caller.to_owned(),
            key: key.to_owned(),
            statement,
            schema,
            partitions: None,
            snapshots: Arc::default(),
            expires: now.saturating_add(TICKET_TIME),
            ended: CancellationToken::new(),
        }
    }

    /// The handles of its partitions, or the one of all of its answer, given
    /// `handle`, which is the question's.
    pub(super) fn handles(&self, handle: &[u8]) -> Vec<Vec<u8>> {
        match self.partitions {
            None => vec![handle.to_vec()],
            Some(count) => (0..count)
                .map(|index| [handle, &index.to_be_bytes()].concat())
                .collect(),
        }
    }

    /// The partition that is meant by what stands behind the question's handle.
    /// Nothing, if there is none such.
    fn partition(&self, index: &[u8]) -> Option<Option<Partition>> {
        match (self.partitions, index) {
            (None, []) => Some(None),
            (Some(count), [a, b]) => {
                let index = u16::from_be_bytes([*a, *b]);
                Partition::all(count).ok()?.nth(index.into()).map(Some)
            }
            _ => None,
        }
    }
}

/// A statement, with values for its places.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// The text.
    pub(super) sql: String,
    /// What its places take; no fields when it has none.
    pub(super) places: SchemaRef,
    /// One value for each place, once they are bound.
    pub(super) values: Vec<ScalarValue>,
}

impl Statement {
    /// A statement without places.
    pub(super) fn plain(sql: &str) -> Self {
        Self {
            sql: sql.to_owned(),
            places: Arc::new(Schema::empty()),
            values: Vec::new(),
        }
    }

    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let values = self.values.iter().map(ScalarValue::size);
        self.sql.len() + values.sum::<usize>()
    }

    /// The digest of the text and the values, as deliveries name it.
    pub(super) fn digest(&self) -> Digest {
        if self.values.is_empty() {
            return Digest::of(self.sql.as_bytes());
        }
        Digest::of(format!("{}\0{:?}", self.sql, self.values).as_bytes())
    }
}

impl Tickets {
    /// Keeps a ticket and gives its handle, of which [`Ticket::handles`] makes those
    /// of partitions: a question has one place, in however many it is read.
    pub(super) fn issue(&self, ticket: Ticket, now: Timestamp) -> Result<Vec<u8>, Denied> {
        let mut handle = vec![0; HANDLE_BYTES];
        getrandom::fill(&mut handle)
            .map_err(|_| Denied::new("unavailable", "no randomness", ""))?;
        let caller = ticket.caller.clone();
        let mut live = self.live();
        live.make_room(&caller, ticket.statement.bytes(), now);
        live.by_handle.insert(handle.clone(), ticket);
        let own = live.by_caller.entry(caller).or_default();
        own.push_back(handle.clone());
        Ok(handle)
    }

    /// What `handle` stands for, if it is live and `key`'s. Whether it is
    /// unknown, another's or expired makes no difference in the answer
    /// (`spec/5-data-plane.md#D-113`).
    pub(super) fn redeem(
        &self,
        handle: &[u8],
        key: &str,
        now: Timestamp,
    ) -> Result<(Ticket, Option<Partition>), Denied> {
        let live = self.live();
        let found = handle
            .split_at_checked(HANDLE_BYTES)
            .and_then(|(handle, index)| {
                let ticket = live.by_handle.get(handle);
                let ticket = ticket.filter(|t| t.key == key && now < t.expires)?;
                Some((ticket.clone(), ticket.partition(index)?))
            });
        found.ok_or_else(|| {
            Denied::new(
                "expired-ticket",
                "the ticket is unknown or has expired; ask again",
                "",
            )
        })
    }

    /// Binds values to the places of a statement that `key` prepared.
    pub(super) fn bind(&self, handle: &[u8], key: &str, values: Vec<ScalarValue>) -> bool {
        let mut live = self.live();
        let ticket = live.by_handle.get_mut(handle).filter(|t| t.key == key);
        ticket.map(|t| t.statement.values = values).is_some()
    }

    /// Ends a ticket of `key`, and its running streams when `streams` says so.
    /// Gives whether there was one.
    pub(super) fn end(&self, handle: &[u8], key: &str, streams: bool) -> bool {
        let mut live = self.live();
        let handle = handle.get(..HANDLE_BYTES).unwrap_or(handle);
        if live.by_handle.get(handle).is_none_or(|t| t.key != key) {
            return false;
        }
        let ended = live.remove(handle);
        if let Some(ticket) = ended.filter(|_| streams) {
            ticket.ended.cancel();
        }
        true
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Room for one more ticket of `caller`, whose statement has `bytes`.
    fn make_room(&mut self, caller: &str, bytes: usize, now: Timestamp) {
        while self.by_caller.get(caller).is_some_and(|own| {
            let statements = own.iter().filter_map(|handle| self.by_handle.get(handle));
            let all: usize = statements.map(|t| t.statement.bytes()).sum();
            own.len() >= MAX_TICKETS_OF_ONE || all + bytes > MAX_BYTES_OF_ONE
        }) {
            self.forget_oldest_of(caller);
        }
        if self.by_handle.len() < MAX_TICKETS {
            return;
        }
        let expired = |t: &Ticket| t.expires <= now;
        let old = self.by_handle.iter().filter(|(_, t)| expired(t));
        for handle in old.map(|(h, _)| h.clone()).collect::<Vec<_>>() {
            self.remove(&handle);
        }
        while self.by_handle.len() >= MAX_TICKETS {
            let most = self.by_caller.iter().max_by_key(|(_, own)| own.len());
            let Some(most) = most.map(|(key, _)| key.clone()) else {
                return;
            };
            self.forget_oldest_of(&most);
        }
    }

    fn forget_oldest_of(&mut self, caller: &str) {
        let oldest = self
            .by_caller
            .get(caller)
            .and_then(VecDeque::front)
            .cloned();
        if let Some(handle) = oldest {
            self.remove(&handle);
        }
    }

    fn remove(&mut self, handle: &[u8]) -> Option<Ticket> {
        let ticket = self.by_handle.remove(handle)?;
        if let Some(own) = self.by_caller.get_mut(&ticket.caller) {
            own.retain(|h| h != handle);
            if own.is_empty() {
                self.by_caller.remove(&ticket.caller);
            }
        }
        Some(ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

    fn issue(tickets: &Tickets, key: &str) -> Vec<u8> {
        issue_to(tickets, key, key)
    }

    fn issue_to(tickets: &Tickets, caller: &str, key: &str) -> Vec<u8> {
        let schema = Arc::new(Schema::empty());
        let ticket = Ticket::new((caller, key), Statement::plain("SELECT 1"), schema, NOW);
        tickets.issue(ticket, NOW).unwrap()
    }

    #[test]
    fn a_ticket_is_its_holders_alone_and_the_answer_does_not_tell() {
        let tickets = Tickets::default();
        let handle = issue(&tickets, "a");
        assert_eq!(
            tickets.redeem(&handle, "a", NOW).unwrap().0.statement.sql,
            "SELECT 1"
        );
        let others = tickets.redeem(&handle, "b", NOW).unwrap_err();
        let unknown = tickets.redeem(b"0123456789abcdef", "b", NOW).unwrap_err();
        assert_eq!(others, unknown);
        assert!(!tickets.end(&handle, "b", true));
        assert!(tickets.redeem(&handle, "a", NOW).is_ok());
    }

    #[test]
    fn a_question_has_one_place_in_however_many_partitions_it_is_read() {
        let tickets = Tickets::default();
        let schema = Arc::new(Schema::empty());
        let mut ticket = Ticket::new(("a", "a"), Statement::plain("SELECT 1"), schema, NOW);
        ticket.partitions = Some(3);
        let of_question = tickets.issue(ticket.clone(), NOW).unwrap();
        let handles = ticket.handles(&of_question);
        let found = handles.iter().map(|handle| {
            let (_, partition) = tickets.redeem(handle, "a", NOW).unwrap();
            partition.unwrap().to_string()
        });
        assert_eq!(found.collect::<Vec<_>>(), ["0/3", "1/3", "2/3"]);
        assert_eq!(tickets.live().by_handle.len(), 1);
        let fourth = [&of_question[..], &[0, 3]].concat();
        for wrong in [
            &of_question[..],
            &fourth,
            &fourth[..17],
            &[&fourth[..], &[0]].concat(),
        ] {
            assert!(tickets.redeem(wrong, "a", NOW).is_err());
        }
        assert!(tickets.end(&handles[1], "a", true));
        assert!(tickets.redeem(&handles[0], "a", NOW).is_err());
    }

    #[test]
    fn a_ticket_lives_for_its_time_and_not_longer() {
        let tickets = Tickets::default();
        let handle = issue(&tickets, "a");
        let end = NOW.saturating_add(TICKET_TIME);
        let before = Timestamp::from_secs(end.as_secs() - 1);
        assert!(tickets.redeem(&handle, "a", before).is_ok());
        assert!(tickets.redeem(&handle, "a", end).is_err());
    }

    #[test]
    fn ending_a_ticket_ends_its_streams_only_when_asked() {
        let tickets = Tickets::default();
        for streams in [false, true] {
            let handle = issue(&tickets, "a");
            let ended = tickets.redeem(&handle, "a", NOW).unwrap().0.ended;
            assert!(tickets.end(&handle, "a", streams));
            assert_eq!(ended.is_cancelled(), streams);
            assert!(tickets.redeem(&handle, "a", NOW).is_err());
            assert!(!tickets.end(&handle, "a", streams), "it is gone");
        }
    }

    #[test]
    fn one_caller_fills_its_own_share_and_nobody_elses() {
        let tickets = Tickets::default();
        let others = issue(&tickets, "b");
        // Regression: by other holders of its grants it had as many shares.
        let own: Vec<_> = (0..=MAX_TICKETS_OF_ONE)
            .map(|n| issue_to(&tickets, "a", &format!("a {n}")))
            .collect();
        assert!(
            tickets.redeem(&own[0], "a 0", NOW).is_err(),
            "the oldest goes"
        );
        assert!(tickets.redeem(&own[1], "a 1", NOW).is_ok());
        assert!(tickets.redeem(&others, "b", NOW).is_ok());
    }

    #[test]
    fn long_statements_of_one_caller_have_a_room_in_bytes() {
        let tickets = Tickets::default();
        let others = issue(&tickets, "b");
        let long = Statement::plain(&"x".repeat(MAX_BYTES_OF_ONE / 4));
        let schema = Arc::new(Schema::empty());
        let own: Vec<_> = (0..5)
            .map(|_| {
                let ticket = Ticket::new(("a", "a"), long.clone(), Arc::clone(&schema) as _, NOW);
                tickets.issue(ticket, NOW).unwrap()
            })
            .collect();
        assert!(
            tickets.redeem(&own[0], "a", NOW).is_err(),
            "the oldest goes"
        );
        assert!(own[1..].iter().all(|t| tickets.redeem(t, "a", NOW).is_ok()));
        assert!(tickets.redeem(&others, "b", NOW).is_ok());
    }

    #[test]
    fn when_all_is_full_the_largest_caller_makes_room() {
        let tickets = Tickets::default();
        let small = issue(&tickets, "small");
        for caller in 0..MAX_TICKETS / MAX_TICKETS_OF_ONE {
            for _ in 0..MAX_TICKETS_OF_ONE {
                issue(&tickets, &format!("caller {caller}"));
            }
        }
        assert_eq!(tickets.live().by_handle.len(), MAX_TICKETS);
        assert!(tickets.redeem(&small, "small", NOW).is_ok());
        let later = NOW.saturating_add(TICKET_TIME);
        let schema = Arc::new(Schema::empty());
        let ticket = Ticket::new(
            ("late", "late"),
            Statement::plain("SELECT 1"),
            schema,
            later,
        );
        tickets.issue(ticket, later).unwrap();
        let live = tickets.live();
        assert_eq!((live.by_handle.len(), live.by_caller.len()), (1, 1));
    }
}
