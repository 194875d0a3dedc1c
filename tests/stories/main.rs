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

mod survey;

mod hostile;

mod floods;

mod texts;

mod unreachable;

mod lasting;

mod traces;

mod endurance;

mod escapes;

mod attacks;

mod record;

mod collector;
mod forwarding;

mod seal;

mod store;

mod retention;

mod report;

mod cli;

mod links;

mod authority;

mod callers;

mod matrix;

mod policy;

mod status;

mod told;

mod alerts;

mod package;
