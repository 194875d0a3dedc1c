//! The record in the languages of others.
