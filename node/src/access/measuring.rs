//! What a measurement reads.

use std::sync::Arc;

use comity_identity::Timestamp;

use super::peer_gate::governed;
use super::scope::{Basis, Scope};
use crate::catalog::OwnProduct;
use crate::query::{Salts, View};

/// The announced tables of one own product, and nothing else
/// (`spec/3-catalog.md#C-101`): a rule of its contract cannot read another
/// product, a partner's table, or a column that is under review.
///
/// The product stands under its bare name, whatever its major is, so that its
/// tables can be named without it.
///
/// # Errors
/// For the owner: why the data cannot be read now.
pub fn measuring_view(
    alias: &str,
    product: &OwnProduct,
    now: Timestamp,
) -> Result<Arc<View>, String> {
    let scope = Scope::decide(Basis::Member, product, now).map_err(|why| why.reason)?;
    let mut view = View::builder(alias);
    let salts = Salts::draw(b"", None).map_err(|e| e.to_string())?;
    for (mut name, table) in governed(alias, product, &scope, &salts, &|_| Ok(Arc::default()))? {
        name.schema = product.descriptor.product.to_string();
        view = view.governed(name, table);
    }
    Ok(view.build())
}
