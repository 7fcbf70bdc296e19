//! Authoring: an ODCS file becomes a signed descriptor.
