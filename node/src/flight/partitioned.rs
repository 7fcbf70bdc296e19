//! Which partitions a call wants, by its headers (`spec/5-data-plane.md#D-232`).

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::session::status;
use super::{PARTITION, PARTITIONS};
use crate::query::{MAX_PARTITIONS, Partition};

/// In how many partitions a question wants its answer, with a ticket for each.
///
/// Only whoever asks for them gets several: clients that read the first endpoint
/// and no other are many, and would miss rows without a word.
pub(super) fn of_question(headers: &MetadataMap, trace: &str) -> Result<Option<u16>, Status> {
    let Some(count) = headers.get(PARTITIONS) else {
        return Ok(None);
    };
    let count = count.to_str().ok().and_then(|count| count.parse().ok());
    let count = count.filter(|count| Partition::all(*count).is_ok());
    let why = format!("{PARTITIONS} is a number from 1 to {MAX_PARTITIONS}");
    count.map(Some).ok_or_else(|| malformed(&why, trace))
}

/// The partition that a call wants whose ticket is for `ticket`.
pub(super) fn of_call(
    headers: &MetadataMap,
    ticket: Option<Partition>,
    trace: &str,
) -> Result<Option<Partition>, Status> {
    let Some(wanted) = headers.get(PARTITION) else {
        return Ok(ticket);
    };
    let wanted = wanted
        .to_str()
        .map_err(|e| malformed(&e.to_string(), trace))?;
    let wanted = wanted.parse::<Partition>();
    let wanted = wanted.map_err(|e| malformed(&e.to_string(), trace))?;
    match ticket {
        // A partition of a partition: not all rows of anything.
        Some(other) if other != wanted => {
            Err(malformed("the ticket is for another partition", trace))
        }
        _ => Ok(Some(wanted)),
    }
}

fn malformed(why: &str, trace: &str) -> Status {
    status(Code::InvalidArgument, "bad-sql", why, trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> MetadataMap {
        let mut headers = MetadataMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_question_has_as_many_tickets_as_it_asks_for() {
        let none = of_question(&MetadataMap::new(), "").unwrap();
        assert_eq!(none, None);
        let two = of_question(&headers(PARTITIONS, "2"), "").unwrap();
        assert_eq!(two, Some(2));
        for wrong in ["0", "129", "-1", "many", ""] {
            of_question(&headers(PARTITIONS, wrong), "").unwrap_err();
        }
    }

    #[test]
    fn a_call_is_for_one_partition_at_most() {
        let wanted = headers(PARTITION, "1/2");
        let partition: Partition = "1/2".parse().unwrap();
        assert_eq!(of_call(&MetadataMap::new(), None, "").unwrap(), None);
        for ticket in [None, Some(partition)] {
            assert_eq!(of_call(&wanted, ticket, "").unwrap(), Some(partition));
        }
        let other = "0/2".parse().ok();
        assert_eq!(of_call(&MetadataMap::new(), other, "").unwrap(), other);
        of_call(&wanted, other, "").unwrap_err();
        of_call(&headers(PARTITION, "2/2"), None, "").unwrap_err();
    }
}
