//! Grants: given, extended, released, revoked, closed.

pub(in crate::core) mod give;

pub(in crate::core) mod extend;

pub(in crate::core) mod revoke;

pub(in crate::core) mod lifetime;

pub(in crate::core) mod notice;

pub(in crate::core) mod eligibility;
