//! The laws of the Flight SQL service (A16, A19, A24, A47): any command, ticket or
//! action gets an answer; no ticket that this node did not make opens anything, and
//! none opens for another caller; answers tell nothing of what is hidden.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow_flight::flight_service_server::FlightService as _;
use arrow_flight::sql::{Any, CommandPreparedStatementQuery, TicketStatementQuery};
use arrow_flight::{Action, FlightData, FlightDescriptor, FlightInfo, Ticket};
use async_trait::async_trait;
use futures::StreamExt as _;
use prost::Message as _;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};

use super::binding;
use super::service::SqlService;
use super::session::{Denied, Recorder, Right, Served, Session, Unlimited};
use super::tally::Moved;
use crate::ledger::Reserved;
use crate::query::fuzzed::{engine, has_hidden, view};

/// Error texts stay short whoever wrote them: they travel in a header
/// (`spec/5-data-plane.md#D-117`).
const MAX_STATUS_BYTES: usize = 4 * 1024;

/// The first byte: `i` a command, `p` a whole descriptor, `s` a command whose schema is
/// asked, `g` a ticket, `a` an action: its type, a line's end, its body.
pub(crate) fn law(data: &[u8]) {
    let Some((first, body)) = data.split_first() else {
        return;
    };
    // A caller who knows the value hears of it what it says itself.
    if has_hidden(data) {
        return;
    }
    let world = &*WORLD;
    world.runtime.block_on(async {
        match first {
            b'i' => info(FlightDescriptor::new_cmd(body.to_vec())).await,
            b'p' => {
                if let Ok(descriptor) = FlightDescriptor::decode(body) {
                    info(descriptor).await;
                }
            }
            b's' => {
                let asked = call("a", FlightDescriptor::new_cmd(body.to_vec()));
                let _ = bounded(world.service.get_schema(asked).await);
            }
            b'g' => foreign_ticket(body).await,
            b'a' => {
                let end = body.iter().position(|b| *b == b'\n').unwrap_or(body.len());
                let (kind, body) = body.split_at(end);
                let action = Action {
                    r#type: String::from_utf8_lossy(kind).into_owned(),
                    body: body.get(1..).unwrap_or_default().to_vec().into(),
                };
                if let Ok(answer) = bounded(world.service.do_action(call("a", action)).await) {
                    let results: Vec<_> = answer.into_inner().take(16).collect().await;
                    for result in results {
                        let _ = bounded(result);
                    }
                }
            }
            _ => {}
        }
    });
}

/// A command, and what its tickets open for whom.
async fn info(descriptor: FlightDescriptor) {
    let service = &WORLD.service;
    let Ok(info) = bounded(service.get_flight_info(call("a", descriptor)).await) else {
        return;
    };
    let info: FlightInfo = info.into_inner();
    // A19: counts would tell of hidden rows.
    assert_eq!((info.total_records, info.total_bytes), (-1, -1));
    for endpoint in info.endpoint {
        let ticket = endpoint.ticket.expect("an endpoint has a ticket");
        if is_statement(&ticket.ticket) {
            let other = service.do_get(call("b", ticket.clone())).await;
            assert!(other.is_err(), "another caller's ticket opens (A16)");
        }
        rows(ticket).await.expect("its own ticket opens");
    }
}

/// A ticket from nowhere opens what needs no ticket of ours: lists of names.
async fn foreign_ticket(bytes: &[u8]) {
    let opened = rows(Ticket::new(bytes.to_vec())).await;
    assert!(
        opened.is_err() || !is_statement(bytes),
        "a forged ticket opens (A16)"
    );
}

async fn rows(ticket: Ticket) -> Result<(), Status> {
    let answer = bounded(WORLD.service.do_get(call("a", ticket)).await)?;
    let mut messages = answer.into_inner();
    while let Some(message) = messages.next().await {
        // A query that ends early, over its budget, has opened nonetheless.
        let Ok(message) = bounded(message) else { break };
        assert!(
            !has_hidden(&message.data_body),
            "a hidden value leaves the node"
        );
    }
    Ok(())
}

fn is_statement(ticket: &[u8]) -> bool {
    let Ok(any) = Any::decode(ticket) else {
        return false;
    };
    any.is::<TicketStatementQuery>() || any.is::<CommandPreparedStatementQuery>()
}

fn bounded<T>(answer: Result<T, Status>) -> Result<T, Status> {
    answer.inspect_err(|status| {
        let told = status.message();
        assert!(
            told.len() <= MAX_STATUS_BYTES,
            "an error of {} bytes",
            told.len()
        );
        assert!(
            !has_hidden(told.as_bytes()),
            "an error tells what is hidden"
        );
    })
}

/// Values for the places of a statement, as a caller sends them (A23, A24). The first
/// byte chooses the places, then each message: two bytes with the length of its
/// header, two with that of its body, header, body.
pub(crate) fn values(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else {
        return;
    };
    let kinds = [
        DataType::Int64,
        DataType::Utf8,
        DataType::Float64,
        DataType::Date32,
        DataType::Boolean,
        DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Decimal128(9, 2),
        DataType::Int8,
    ];
    let places = (0..usize::from(first % 3)).map(|i| {
        let kind = &kinds[(usize::from(first / 3) + i) % kinds.len()];
        Field::new(format!("${}", i + 1), kind.clone(), true)
    });
    let places = Arc::new(Schema::new(places.collect::<Vec<_>>()));
    let mut messages = Vec::new();
    while let Some((lengths, after)) = rest.split_first_chunk::<4>() {
        let [a, b, c, d] = *lengths;
        let header = usize::from(u16::from_le_bytes([a, b])).min(after.len());
        let (header, after) = after.split_at(header);
        let body = usize::from(u16::from_le_bytes([c, d])).min(after.len());
        let (body, after) = after.split_at(body);
        let message = FlightData::default().with_data_header(header.to_vec());
        messages.push(Ok(message.with_data_body(body.to_vec())));
        rest = after;
    }
    let bound = WORLD
        .runtime
        .block_on(binding::read(futures::stream::iter(messages), &places));
    if let Ok(values) = bound {
        assert_eq!(values.len(), places.fields().len());
        for (value, place) in values.iter().zip(places.fields()) {
            assert_eq!(&value.data_type(), place.data_type());
        }
    }
}

/// A call of the caller with this key, as the gate lets it in.
fn call<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Session {
        key: key.to_owned(),
        view: view(),
        stop: CancellationToken::new(),
        right: Arc::new(Standing(watch::Sender::default())),
        member: key == "a",
        allowance: Arc::new(Unlimited),
        trace: "0123456789abcdef0123456789abcdef".to_owned(),
        recorder: Arc::new(Nobody),
        token: None,
    });
    request
}

struct World {
    runtime: Runtime,
    service: SqlService,
}

static WORLD: LazyLock<World> = LazyLock::new(|| World {
    runtime: tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime"),
    service: SqlService::new(Arc::new(engine())),
});

#[derive(Debug)]
struct Standing(watch::Sender<u64>);

impl Right for Standing {
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }

    fn changes(&self) -> Vec<watch::Receiver<u64>> {
        vec![self.0.subscribe()]
    }
}

#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Recorder for Nobody {
    async fn started(&self, _: &Served, _: Option<Reserved>) -> Result<(), Denied> {
        Ok(())
    }

    fn refused(&self, _: &'static str, _: &str) {}

    fn ended(&self, _: &Served, _: Moved, _: Option<&'static str>) {}
}
