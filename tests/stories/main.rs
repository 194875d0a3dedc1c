//! The stories: what people see on real, booted hosts. Each test is one behaviour, on a host of its own.

mod ground;

mod refused;

mod window;

mod end;

mod tree;

mod deadman;

mod deadline;

mod groups;

mod scopes_left;

mod threaded;

mod extend;

mod left_alone;

mod eligible;

mod straddle;

mod left_behind;

mod hostile;

mod texts;

mod unreachable;

mod lasting;

mod traces;

mod record;

mod collector;
mod forwarding;

mod seal;

mod retention;

mod report;

mod links;

mod authority;

mod policy;

mod alerts;

mod package;
