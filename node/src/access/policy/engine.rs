//! The decision, by Cedar.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{
    Authorizer, Context, Decision as Cedar, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    Policy, PolicyId, Request, RestrictedExpression as Expression,
};
use comity_identity::Digest;
use serde::Serialize;

use super::asked::{Action, Asked, Circumstances, Principal, Resource};
use super::explain::{Explanation, explain};
use super::set::ValidSet;
use super::{Decision, PolicyEngine, Verdict};

/// The id of this node as a resource.
const THIS: &str = "this";

/// Numbers above it are this one: a policy compares, and nobody must be able to
/// send a number that means something else inside the engine.
const MAX_NUMBER: u64 = i32::MAX as u64;

/// Decides by a set of Cedar policies.
#[derive(Debug)]
pub struct CedarEngine {
    set: ValidSet,
    authorizer: Authorizer,
}

/// A value of an attribute. There is no other way into Cedar than these: a
/// token's JSON never becomes an entity (`spec/7-policy.md#R-5`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    Texts(BTreeSet<String>),
    /// An entity's type and id.
    Entity(&'static str, String),
}

/// An entity: its type, its id, its attributes.
pub(super) struct Thing {
    kind: &'static str,
    id: String,
    pub(super) attributes: Attributes,
}

/// Attributes by name.
pub(super) type Attributes = BTreeMap<&'static str, Value>;

impl CedarEngine {
    /// Decides by `set`.
    pub fn new(set: ValidSet) -> Self {
        Self {
            set,
            authorizer: Authorizer::new(),
        }
    }

    /// The policies.
    pub fn set(&self) -> &ValidSet {
        &self.set
    }

    /// The policy with this id.
    pub(super) fn policy(&self, action: Action, id: &str) -> Option<&Policy> {
        self.set.about(action)?.policy(&PolicyId::new(id))
    }

    /// The verdict, the policies behind it, and what went wrong.
    fn ask(&self, asked: &Asked) -> Result<(bool, Vec<String>, Vec<String>), String> {
        let policies = self.set.about(asked.action);
        let policies = policies.ok_or("the set has no policies for the action")?;
        let (request, entities) = self.request(asked)?;
        let response = self.authorizer.is_authorized(&request, policies, &entities);
        let found = response.diagnostics();
        let mut by: Vec<String> = found.reason().map(ToString::to_string).collect();
        by.sort();
        let errors = found.errors().map(ToString::to_string).collect();
        Ok((response.decision() == Cedar::Allow, by, errors))
    }

    fn request(&self, asked: &Asked) -> Result<(Request, Entities), String> {
        let schema = self.set.schema();
        let (principal, resource) = (principal(&asked.principal), resource(&asked.resource));
        let action = uid("Action", asked.action.name())?;
        let context = expressions(&circumstances(&asked.context))?;
        let context = Context::from_pairs(context).map_err(|e| e.to_string())?;
        let request = Request::new(
            uid(principal.kind, &principal.id)?,
            action,
            uid(resource.kind, &resource.id)?,
            context,
            Some(schema),
        )
        .map_err(|e| e.to_string())?;
        let mut entities = vec![entity(principal)?];
        // An agreement may be named twice, and Cedar wants each entity once.
        let agreement = agreement(&asked.context);
        if let Some(agreement) =
            agreement.filter(|a| (a.kind, &a.id) != (resource.kind, &resource.id))
        {
            entities.push(entity(agreement)?);
        }
        entities.push(entity(resource)?);
        let entities =
            Entities::from_entities(entities, Some(schema)).map_err(|e| e.to_string())?;
        Ok((request, entities))
    }
}

impl PolicyEngine for CedarEngine {
    /// Cedar skips a policy that fails, so a `forbid` that fails would forbid
    /// nothing: any error is a deny here (A32, `spec/7-policy.md#R-4`).
    fn decide(&self, asked: &Asked) -> Decision {
        let (allowed, by, errors) = match self.ask(asked) {
            Ok(answer) => answer,
            Err(error) => (false, Vec::new(), vec![error]),
        };
        Decision {
            verdict: match allowed && errors.is_empty() {
                true => Verdict::Allow,
                false => Verdict::Deny,
            },
            by,
            errors,
            policy: self.set.digest(),
        }
    }

    fn explain(&self, asked: Asked) -> Explanation {
        explain(self, asked)
    }

    fn digest(&self) -> Digest {
        self.set.digest()
    }
}

/// Whoever asks, as an entity.
pub(super) fn principal(principal: &Principal) -> Thing {
    match principal {
        Principal::Partner {
            id,
            alias,
            roles,
            assurance,
        } => {
            let mut attributes = Attributes::from([
                ("id", text(id)),
                ("roles", texts(roles)),
                ("assurance", texts(assurance)),
            ]);
            if let Some(alias) = alias {
                attributes.insert("alias", text(alias));
            }
            thing("Partner", id, attributes)
        }
        Principal::Member { name, roles } => {
            let attributes = Attributes::from([("name", text(name)), ("roles", texts(roles))]);
            thing("Member", name, attributes)
        }
        Principal::Administrator { role } => thing(
            "Administrator",
            role,
            Attributes::from([("role", text(role))]),
        ),
    }
}

/// What it is about, as an entity.
pub(super) fn resource(resource: &Resource) -> Thing {
    match resource {
        Resource::Product {
            address,
            org,
            own,
            classifications,
            tags,
        } => {
            let attributes = Attributes::from([
                ("address", text(address)),
                ("org", text(org)),
                ("own", Value::Flag(*own)),
                ("classifications", texts(classifications)),
                ("tags", texts(tags)),
            ]);
            // No address has a "/": a partner's product is never taken for an own one.
            let id = match own {
                true => address.clone(),
                false => format!("{org}/{address}"),
            };
            thing("Product", &id, attributes)
        }
        Resource::Agreement { id, purposes } => of_agreement(id, purposes),
        Resource::Node => thing("Node", THIS, Attributes::new()),
    }
}

/// The agreement of the circumstances, as an entity.
pub(super) fn agreement(c: &Circumstances) -> Option<Thing> {
    let agreement = c.agreement.as_ref();
    agreement.map(|a| of_agreement(&a.id, &a.purposes))
}

/// The circumstances, as attributes.
pub(super) fn circumstances(c: &Circumstances) -> Attributes {
    let mut attributes = Attributes::from([
        ("purposes", texts(&c.purposes)),
        ("columns", texts(&c.columns)),
        ("classifications", texts(&c.classifications)),
        ("roles", texts(&c.roles)),
        ("authentication", texts(&c.authentication)),
        ("hour", number(c.hour.into())),
        ("weekday", text(c.weekday.name())),
    ]);
    let optional = [
        ("onBehalf", c.on_behalf.as_deref().map(text)),
        (
            "agreement",
            c.agreement
                .as_ref()
                .map(|a| Value::Entity("Agreement", a.id.clone())),
        ),
        ("days", c.days.map(number)),
        ("call", c.call.as_deref().map(text)),
    ];
    let known = optional
        .into_iter()
        .filter_map(|(name, v)| Some((name, v?)));
    attributes.extend(known);
    attributes
}

fn of_agreement(id: &str, purposes: &BTreeSet<String>) -> Thing {
    let attributes = Attributes::from([("id", text(id)), ("purposes", texts(purposes))]);
    thing("Agreement", id, attributes)
}

fn thing(kind: &'static str, id: &str, attributes: Attributes) -> Thing {
    Thing {
        kind,
        id: id.to_owned(),
        attributes,
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(texts: &BTreeSet<String>) -> Value {
    Value::Texts(texts.clone())
}

/// A number from outside, clamped (`spec/7-policy.md#R-5`).
fn number(number: u64) -> Value {
    Value::Number(i64::try_from(number.min(MAX_NUMBER)).unwrap_or_default())
}

fn entity(thing: Thing) -> Result<Entity, String> {
    let uid = uid(thing.kind, &thing.id)?;
    let attributes: HashMap<_, _> = expressions(&thing.attributes)?.into_iter().collect();
    Entity::new(uid, attributes, HashSet::new()).map_err(|e| e.to_string())
}

fn expressions(attributes: &Attributes) -> Result<Vec<(String, Expression)>, String> {
    let expression = |(name, value): (&&'static str, &Value)| {
        let text = |t: &String| Expression::new_string(t.clone());
        let value = match value {
            Value::Text(t) => text(t),
            Value::Number(n) => Expression::new_long(*n),
            Value::Flag(f) => Expression::new_bool(*f),
            Value::Texts(all) => Expression::new_set(all.iter().map(text)),
            Value::Entity(kind, id) => Expression::new_entity_uid(uid(kind, id)?),
        };
        Ok(((*name).to_owned(), value))
    };
    attributes.iter().map(expression).collect()
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind = EntityTypeName::from_str(kind).map_err(|e| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

#[cfg(test)]
mod tests;
