//! Who may: negotiation, grants, revocation. The only room that makes a scope.
