//! Values and options of several verbs, parsed once.

use clap::Args;

/// Options of verbs that print a table.
#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Show every column and full times, however wide the lines become
    #[arg(long)]
    pub(crate) full: bool,
}

/// Requests, grants and records are numbered from 1; on the bus 0 has other meanings.
pub(crate) fn number() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..)
}

/// A value that a type of the domain checks.
pub(crate) fn text<T: TryFrom<String>>(text: &str) -> Result<T, T::Error> {
    T::try_from(text.to_owned())
}

/// A name that is not empty.
pub(crate) fn name() -> clap::builder::NonEmptyStringValueParser {
    clap::builder::NonEmptyStringValueParser::new()
}
