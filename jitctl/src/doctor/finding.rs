//! What a look at the host comes to: what is open, and what could not be looked at.

use serde::Serialize;

/// Something that lets people past jitd, hides what they did, or will keep jitd from working.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// The same for the same thing in each run: kind and place, such as `stack/sudo-i`.
    pub(crate) id: String,
    /// What was found, and where.
    pub(crate) what: String,
    /// Why it matters.
    pub(crate) why: String,
    /// What to type.
    pub(crate) mend: String,
}

/// What could not be looked at. It is not known whether something is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Unseen {
    /// What.
    pub(crate) what: String,
    /// Why not.
    pub(crate) why: String,
}

/// What the checks have come to so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Look {
    /// What is open.
    pub(crate) findings: Vec<Finding>,
    /// What could not be looked at.
    pub(crate) unseen: Vec<Unseen>,
    /// What is worth knowing and neither right nor wrong.
    pub(crate) notes: Vec<String>,
}

impl Look {
    /// Something is open.
    pub(super) fn open(
        &mut self,
        id: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) {
        let found = Finding { id: id.into(), what: what.into(), why: why.into(), mend: mend.into() };
        // Two checks may see the same thing.
        if !self.findings.iter().any(|known| known.id == found.id) {
            self.findings.push(found);
        }
    }

    /// Something could not be looked at.
    pub(super) fn unseen(&mut self, what: impl Into<String>, why: impl ToString) {
        self.unseen.push(Unseen { what: what.into(), why: why.to_string() });
    }
}

/// A kind of check.
#[derive(Clone, Copy)]
pub(super) struct Check {
    /// Its name, as `--check` takes it.
    pub(super) name: &'static str,
    /// What it looks at, for whoever is told that it was not looked at.
    pub(super) looks_at: &'static str,
    /// Looks.
    pub(super) look: fn(&super::host::Host, &mut Look),
}

/// A word for a shell: in single quotes where a shell would take it for something else.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stays_one_word_of_the_shell() {
        assert_eq!(quoted("/etc/sudoers.d/a-b_c.d"), "/etc/sudoers.d/a-b_c.d");
        assert_eq!(quoted("a b; rm -rf /"), "'a b; rm -rf /'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn the_same_thing_is_told_once() {
        let mut look = Look::default();
        look.open("a", "first", "", "");
        look.open("a", "second", "", "");
        assert_eq!(look.findings.len(), 1);
    }
}
