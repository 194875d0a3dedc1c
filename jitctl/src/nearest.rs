//! Finds the names that are most similar to a given one.

/// Names at least this similar suggest a typing error (Jaro and Winkler, from 0 to 1).
const NEAR: f64 = 0.78;
/// Number of suggestions.
const MAX_NAMES: usize = 3;

/// The most similar names, each once.
pub(crate) fn near<'a>(typed: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = typed.to_lowercase();
    let mut found: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&typed, &name.to_lowercase()), name))
        .filter(|(likeness, name)| *likeness > NEAR && !name.is_empty())
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let mut names: Vec<&str> = found.into_iter().map(|(_, name)| name).collect();
    names.dedup();
    names.truncate(MAX_NAMES);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_another_name_finds_none() {
        let names = ["alice", "bob", "web-admin", "web-admin-db", "alice"];
        assert_eq!(near("alise", names), ["alice"]);
        assert_eq!(near("Alice", names), ["alice"]);
        assert_eq!(near("webadmin", names)[0], "web-admin");
        assert!(near("zoe", names).is_empty());
        assert!(near("", names).is_empty());
    }
}
