//! The stories: what people see on real, booted hosts. Each test is one behaviour, on a host of its own.

mod ground;

mod refused;

mod window;

mod end;

mod straddle;

mod hostile;

mod unreachable;

mod lasting;

mod traces;

mod record;

mod report;

mod authority;

mod policy;

mod package;
