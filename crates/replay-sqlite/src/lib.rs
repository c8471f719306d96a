//! Work begins.
