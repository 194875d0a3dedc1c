//! What doctor prints for people: a line for each path, then what is open, then what could not be looked at.

use jit_proto::escape::Escaped;

use super::Diagnosis;
use crate::render::{counted, detail};

/// Everything, open things last so that they are what is seen.
pub(super) fn text(diagnosis: &Diagnosis, on_a_terminal: bool) -> String {
    // SGR 1, 31 and 0: bold, red, and back (ECMA-48, 8.3.117).
    let (red, plain) = if on_a_terminal { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    let mut text = String::new();
    let width = diagnosis.paths.iter().map(|path| path.name.len()).max().unwrap_or_default();
    for path in &diagnosis.paths {
        let (begin, end) = if path.state == super::State::Open { (red, plain) } else { ("", "") };
        text += &format!("{begin}{:<7} {:width$}{end}  {}\n", path.state, path.name, Escaped(&path.how));
    }
    for note in &diagnosis.look.notes {
        text += &format!("note: {}\n", Escaped(note));
    }
    for found in &diagnosis.look.findings {
        text += &format!("\n{red}OPEN{plain}  {}\n", Escaped(&found.what));
        text += &detail("why", &Escaped(&found.why).to_string());
        text += &detail("mend", &Escaped(&found.mend).to_string());
    }
    if !diagnosis.look.unseen.is_empty() {
        text += "\nnot looked at\n";
    }
    for unseen in &diagnosis.look.unseen {
        text += &format!("    {}: {}\n", Escaped(&unseen.what), Escaped(&unseen.why));
    }
    let open = diagnosis.look.findings.len() as u64;
    let unseen = diagnosis.look.unseen.len() as u64;
    if open + unseen > 0 {
        text += &format!(
            "\n{}, {} could not be looked at\n",
            counted(open, "thing is open", "things are open"),
            counted(unseen, "thing", "things")
        );
    }
    text
}
