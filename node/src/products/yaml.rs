//! The strict YAML front door: one text, one meaning, a place for every value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::problem::{Problem, Problems, deceives};
use super::{rules, scalar};

/// The most bytes of a contract file.
pub const MAX_FILE_BYTES: usize = 512 * 1024;
/// The most collections inside one another.
pub const MAX_DEPTH: usize = 24;
/// The most scalars, keys and collections of a contract file.
pub const MAX_NODES: usize = 50_000;

/// A contract file as JSON, with the place of every value.
#[derive(Debug)]
pub(super) struct Document {
    file: PathBuf,
    value: Value,
    places: BTreeMap<String, Place>,
}

/// Where something begins in a file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
}

impl Document {
    /// Parses a file's bytes, or reports every text in it that has two readings.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, Problems> {
        if bytes.len() > MAX_FILE_BYTES {
            let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
            return Err(Problem::of_file(file, message).into());
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + valid.iter().filter(|b| **b == b'\n').count();
            let mut problem = Problem::of_file(file, "the file is not UTF-8");
            (problem.line, problem.column) = (line, 1);
            problem
        })?;
        let mut builder = Builder::new(file);
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_unresolved_aliases: true,
            flow_nesting_limit: MAX_DEPTH + 1,
            block_nesting_limit: MAX_DEPTH + 1,
        };
        for event in Parser::new_from_str_with_options(text, options) {
            let proceed = match event {
                Ok((event, span)) => builder.take(event, span),
                Err(error) => {
                    let place = Place::new(error.marker().line(), error.marker().col());
                    builder.report(place, String::new(), error.info(), None);
                    false
                }
            };
            if !proceed {
                break;
            }
        }
        builder.finish()
    }

    /// The document.
    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// A problem at a JSON pointer, or at the nearest place above it that the file has.
    pub(super) fn problem(
        &self,
        pointer: &str,
        message: impl Into<String>,
        instead: Option<String>,
    ) -> Problem {
        let mut at = pointer;
        let place = loop {
            match (self.places.get(at), at.rfind('/')) {
                (Some(place), _) => break Some(*place),
                (None, Some(cut)) => at = at.get(..cut).unwrap_or_default(),
                (None, None) => break None,
            }
        };
        Problem {
            file: self.file.clone(),
            line: place.map_or(0, |p| p.line),
            column: place.map_or(0, |p| p.column),
            path: pointer.to_owned(),
            message: message.into(),
            instead,
        }
    }
}

impl Place {
    /// From the parser's marker, which counts columns from 0.
    fn new(line: usize, column: usize) -> Self {
        Self {
            line,
            column: column + 1,
        }
    }
}

/// One step down in a JSON pointer (RFC 6901).
pub(super) fn child(pointer: &str, step: &str) -> String {
    format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1"))
}

struct Builder {
    file: PathBuf,
    places: BTreeMap<String, Place>,
    problems: Vec<Problem>,
    open: Vec<Open>,
    root: Option<Value>,
    nodes: usize,
}

enum Open {
    Sequence {
        pointer: String,
        items: Vec<Value>,
    },
    Mapping {
        pointer: String,
        entries: Map<String, Value>,
        key: Option<String>,
    },
}

impl Builder {
    fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            places: BTreeMap::new(),
            problems: Vec::new(),
            open: Vec::new(),
            root: None,
            nodes: 0,
        }
    }

    /// Takes one event; false when going on makes no sense.
    fn take(&mut self, event: Event<'_>, span: Span) -> bool {
        let place = Place::new(span.start.line(), span.start.col());
        if event.is_node() {
            self.nodes += 1;
            if self.nodes > MAX_NODES {
                return self.stop(place, format!("the file has more than {MAX_NODES} values"));
            }
            if event.tag().is_some() {
                self.refuse(
                    place,
                    "tags change what a value means",
                    "the value without !",
                );
            }
            if event.anchor_id().is_some() {
                self.refuse(
                    place,
                    "anchors are not read alike by every parser",
                    "the value without &",
                );
            }
        }
        match event {
            // The parser writes a null of its own where nothing stands.
            Event::Scalar(_, ScalarStyle::Plain, ..) if span.start.index() == span.end.index() => {
                self.scalar("", ScalarStyle::Plain, place)
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style, place),
            Event::SequenceStart(..) => self.enter(place, false),
            Event::MappingStart(..) => self.enter(place, true),
            Event::SequenceEnd | Event::MappingEnd => {
                match self.open.pop() {
                    Some(Open::Sequence { items, .. }) => self.put(Value::Array(items)),
                    Some(Open::Mapping { entries, .. }) => self.put(Value::Object(entries)),
                    None => {}
                }
                true
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => self.stop(
                place,
                "aliases are not read alike by every parser; write the value out".to_owned(),
            ),
            Event::DocumentStart(..) if self.root.is_some() => self.stop(
                place,
                "a file holds one contract; put the second document into its own file".to_owned(),
            ),
            _ => true,
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place) -> bool {
        if text.chars().any(deceives) {
            self.refuse(
                place,
                "the text contains invisible or direction-changing characters",
                "the text without them",
            );
        }
        let resolved = match style {
            ScalarStyle::Plain => scalar::resolve(text),
            _ => Ok(Value::String(text.to_owned())),
        };
        if matches!(self.open.last(), Some(Open::Mapping { key: None, .. })) {
            return match resolved {
                Ok(Value::String(name)) => self.key(name, place),
                _ => {
                    self.refuse(place, "a key must be text", &scalar::quoted(text));
                    self.key(text.to_owned(), place)
                }
            };
        }
        let value = resolved.unwrap_or_else(|ambiguous| {
            let pointer = self.here();
            // The text alone would be refused next: a version has three numbers.
            let version = (pointer == "/version")
                .then(|| rules::release(text))
                .flatten();
            let instead = version.map_or(ambiguous.instead, |v| scalar::quoted(&v));
            self.report(place, pointer, ambiguous.message, Some(instead));
            Value::Null
        });
        self.mark(place);
        self.put(value);
        true
    }

    fn key(&mut self, name: String, place: Place) -> bool {
        let Some(Open::Mapping {
            pointer,
            entries,
            key,
        }) = self.open.last_mut()
        else {
            return true;
        };
        let at = child(pointer, &name);
        let twice = entries.contains_key(&name).then(|| name.clone());
        *key = Some(name);
        if let Some(name) = twice {
            // serde_yaml_ng and PyYAML silently keep the last one.
            let first = self.places.get(&at).map_or(0, |first| first.line);
            self.report(
                place,
                at,
                format!("the key {name} occurs twice: first in line {first}"),
                Some(format!("{name} once")),
            );
        } else {
            self.places.insert(at, place);
        }
        true
    }

    fn enter(&mut self, place: Place, mapping: bool) -> bool {
        if matches!(self.open.last(), Some(Open::Mapping { key: None, .. })) {
            return self.stop(
                place,
                "a key must be text, not a list or a mapping".to_owned(),
            );
        }
        if self.open.len() >= MAX_DEPTH {
            return self.stop(place, format!("values are nested deeper than {MAX_DEPTH}"));
        }
        self.mark(place);
        let pointer = self.here();
        self.open.push(if mapping {
            Open::Mapping {
                pointer,
                entries: Map::new(),
                key: None,
            }
        } else {
            Open::Sequence {
                pointer,
                items: Vec::new(),
            }
        });
        true
    }

    /// The pointer of the value that comes next.
    fn here(&self) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open::Sequence { pointer, items }) => child(pointer, &items.len().to_string()),
            Some(Open::Mapping { pointer, key, .. }) => key
                .as_ref()
                .map_or_else(|| pointer.clone(), |key| child(pointer, key)),
        }
    }

    /// Remembers the place of the value that comes next; a key's place wins over its value's.
    fn mark(&mut self, place: Place) {
        let pointer = self.here();
        self.places.entry(pointer).or_insert(place);
    }

    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some(Open::Sequence { items, .. }) => items.push(value),
            Some(Open::Mapping { entries, key, .. }) => {
                if let Some(key) = key.take() {
                    entries.insert(key, value);
                }
            }
        }
    }

    fn refuse(&mut self, place: Place, message: &str, instead: &str) {
        let pointer = self.here();
        self.report(place, pointer, message.to_owned(), Some(instead.to_owned()));
    }

    fn stop(&mut self, place: Place, message: String) -> bool {
        let pointer = self.here();
        self.report(place, pointer, message, None);
        false
    }

    fn report(&mut self, place: Place, path: String, message: String, instead: Option<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            path,
            message,
            instead,
        });
    }

    fn finish(self) -> Result<Document, Problems> {
        Problems::check(self.problems)?;
        match self.root {
            Some(value @ Value::Object(_)) => Ok(Document {
                file: self.file,
                value,
                places: self.places,
            }),
            _ => Err(Problem::of_file(
                &self.file,
                "the file is empty or not a mapping of keys to values",
            )
            .into()),
        }
    }
}
