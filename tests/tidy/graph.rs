//! Which module of a crate imports which: paths that begin with `crate`, `super`, `self` or a module's own child, followed
//! through `use` to the file that defines what they name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::source::{Source, Token};

type Names = Vec<String>;

/// A module that is a file.
#[derive(Debug)]
pub(crate) struct Module {
    /// The file below the repository.
    pub(crate) path: String,
    tokens: Vec<Token>,
    defined: BTreeSet<String>,
    /// What `use` brings in: the name here, and the path as it is written, from the module it stands in.
    used: BTreeMap<String, Names>,
    used_whole: Vec<Names>,
}

/// A crate as its modules.
#[derive(Debug)]
pub(crate) struct Crate {
    modules: BTreeMap<Names, Module>,
}

/// Files that import each other, and the imports among them.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) files: Vec<String>,
    pub(crate) imports: Vec<String>,
}

impl Crate {
    /// Reads the modules below a folder; programs in `bin` are crates of one file each and hold no circle.
    pub(crate) fn read(root: &Path, folder: &str) -> Self {
        let mut files = Vec::new();
        list(root, folder, &mut files);
        let mut modules = BTreeMap::new();
        let mut tests = Vec::new();
        let has_library = files.iter().any(|path| *path == format!("{folder}/lib.rs"));
        for path in files {
            let inside = path.strip_prefix(folder).and_then(|path| path.strip_suffix(".rs"));
            let mut name: Names = inside.unwrap_or_default().split('/').skip(1).map(str::to_owned).collect();
            let last = name.last().map(String::as_str);
            if name.len() == 1 && (last == Some("lib") || (last == Some("main") && !has_library)) {
                name.clear();
            } else if last == Some("mod") {
                name.pop();
            } else if name.len() == 1 && last == Some("main") {
                continue;
            }
            let source = Source::new(&fs::read_to_string(root.join(&path)).unwrap_or_default());
            tests.extend(
                source.test_modules.iter().map(|test| [&name[..], std::slice::from_ref(test)].concat()),
            );
            modules.insert(name, Module::new(path, &source));
        }
        modules.retain(|name, _| !tests.iter().any(|test| name.starts_with(test)));
        Self { modules }
    }

    /// Its modules.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.values()
    }

    /// The imports of the files below a folder that lead to a file of another kind: `importer -> imported: as written`.
    pub(crate) fn imports_from(&self, folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for (name, module) in self.modules.iter().filter(|(_, module)| module.path.starts_with(folder)) {
            for (to, written) in self.imports(name, module) {
                let to = &self.modules[&to].path;
                if wanted(to) {
                    found.push(format!("{} -> {to}: {}", module.path, written.join("::")));
                }
            }
        }
        found
    }

    /// The crates that files below a folder use.
    pub(crate) fn other_crates(&self, folder: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        for (name, module) in self.modules.iter().filter(|(_, module)| module.path.starts_with(folder)) {
            for written in module.used.values().chain(&module.used_whole) {
                let first = written.first().map(String::as_str).unwrap_or_default();
                let own = ["crate", "super", "self"].contains(&first)
                    || self.is_child(name, first)
                    || module.defined.contains(first)
                    || (module.used.contains_key(first) && module.used[first] != *written);
                if !own {
                    found.insert(first);
                }
            }
        }
        found
    }

    /// Whether a module has one of this name below it; a folder's may be written out in the file above.
    fn is_child(&self, of: &[String], name: &str) -> bool {
        let child = [of, &[name.to_owned()]].concat();
        self.modules.keys().any(|module| module.starts_with(&child))
    }

    /// The modules that one imports, each with a path by which it does.
    fn imports(&self, name: &Names, module: &Module) -> BTreeMap<Names, Names> {
        let mut found = BTreeMap::new();
        for written in module.paths() {
            if let Some(to) = self.resolve(name, &written, 0)
                && to != *name
            {
                found.entry(to).or_insert(written);
            }
        }
        found
    }

    /// The module that defines what a path names, as written in a module.
    fn resolve(&self, from: &[String], written: &[String], depth: u32) -> Option<Names> {
        // Two modules that take everything of each other.
        if depth > 12 {
            return None;
        }
        let mut at = from.to_vec();
        let mut rest = written;
        match rest.first()?.as_str() {
            "crate" => {
                at.clear();
                rest = &rest[1..];
            }
            "self" => rest = &rest[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    at.pop()?;
                    rest = &rest[1..];
                }
            }
            first if self.is_child(&at, first) => {}
            first => {
                // Named by a `use` of this module, or of another crate.
                let used = self.modules.get(&at)?.used.get(first)?;
                if used.as_slice() == written || used.first().is_some_and(|name| name == first) {
                    return None;
                }
                let path = [used, &rest[1..]].concat();
                return self.resolve(&at, &path, depth + 1);
            }
        }
        while let Some(next) = rest.first().filter(|next| self.is_child(&at, next)) {
            at.push(next.clone());
            rest = &rest[1..];
        }
        let module = self.modules.get(&at)?;
        let Some(item) = rest.first() else { return Some(at) };
        if module.defined.contains(item) || depth == 0 && at == from {
            return Some(at);
        }
        if let Some(used) = module.used.get(item) {
            let path = [used, &rest[1..]].concat();
            return self.resolve(&at, &path, depth + 1);
        }
        for whole in &module.used_whole {
            if let Some(to) = self.resolve(&at, &[&whole[..], std::slice::from_ref(item)].concat(), depth + 1)
                && self.modules[&to].defined.contains(item)
            {
                return Some(to);
            }
        }
        Some(at)
    }

    fn graph(&self) -> BTreeMap<&Names, BTreeMap<Names, Names>> {
        self.modules.iter().map(|(name, module)| (name, self.imports(name, module))).collect()
    }
}

impl Module {
    fn new(path: String, source: &Source) -> Self {
        let tokens = source.tokens();
        let mut module = Self {
            path,
            tokens: Vec::new(),
            defined: BTreeSet::new(),
            used: BTreeMap::new(),
            used_whole: Vec::new(),
        };
        const KINDS: [&str; 9] =
            ["struct", "enum", "fn", "trait", "type", "const", "static", "union", "macro_rules"];
        for (at, token) in tokens.iter().enumerate() {
            let Token::Name(word) = token else { continue };
            let following = tokens[at + 1..].iter().find_map(|token| match token {
                Token::Name(name) if name != "mut" => Some(name),
                _ => None,
            });
            if KINDS.contains(&word.as_str())
                && let Some(name) = following
            {
                module.defined.insert(name.clone());
            } else if word == "mod" && tokens.get(at + 2) == Some(&Token::Sign('{')) {
                module.defined.extend(following.cloned());
            } else if word == "use" {
                let mut at = at + 1;
                module.tree(&tokens, &mut at, &mut Vec::new());
            }
        }
        module.tokens = tokens;
        module
    }

    /// Reads the tree of a `use`.
    fn tree(&mut self, tokens: &[Token], at: &mut usize, prefix: &mut Names) {
        let depth = prefix.len();
        loop {
            match tokens.get(*at) {
                Some(Token::Name(name)) if name == "as" => {
                    if let Some(Token::Name(alias)) = tokens.get(*at + 1) {
                        self.used.insert(alias.clone(), prefix.clone());
                    }
                    *at += 2;
                    prefix.truncate(depth);
                    return;
                }
                Some(Token::Name(name)) => {
                    if name != "self" || prefix.is_empty() {
                        prefix.push(name.clone());
                    }
                    *at += 1;
                    let goes_on = matches!(tokens.get(*at), Some(Token::Path))
                        || matches!(tokens.get(*at), Some(Token::Name(name)) if name == "as");
                    if !goes_on {
                        if let Some(last) = prefix.last() {
                            self.used.insert(last.clone(), prefix.clone());
                        }
                        prefix.truncate(depth);
                        return;
                    }
                }
                Some(Token::Path) => *at += 1,
                Some(Token::Sign('*')) => {
                    self.used_whole.push(prefix.clone());
                    *at += 1;
                    prefix.truncate(depth);
                    return;
                }
                Some(Token::Sign('{')) => {
                    *at += 1;
                    while !matches!(tokens.get(*at), None | Some(Token::Sign('}'))) {
                        if tokens.get(*at) == Some(&Token::Sign(',')) {
                            *at += 1;
                        } else {
                            self.tree(tokens, at, prefix);
                        }
                    }
                    *at += 1;
                    prefix.truncate(depth);
                    return;
                }
                _ => {
                    *at += 1;
                    prefix.truncate(depth);
                    return;
                }
            }
        }
    }

    /// Every path of the code, and every path that `use` names.
    fn paths(&self) -> BTreeSet<Names> {
        // A whole module that is taken leads to that module; whose names these are is not known here.
        let mut found: BTreeSet<Names> = self.used.values().chain(&self.used_whole).cloned().collect();
        let mut at = 0;
        while at < self.tokens.len() {
            let begins = matches!(self.tokens[at], Token::Name(_))
                && (at == 0 || !matches!(self.tokens[at - 1], Token::Path | Token::Sign('.')))
                && matches!(self.tokens.get(at + 1), Some(Token::Path));
            if !begins {
                at += 1;
                continue;
            }
            let mut path = Vec::new();
            while let Some(Token::Name(name)) = self.tokens.get(at) {
                path.push(name.clone());
                at += 1;
                if self.tokens.get(at) != Some(&Token::Path) {
                    break;
                }
                at += 1;
            }
            // The beginning of a tree is in `used` already; by itself it would name a folder.
            if !matches!(self.tokens.get(at), Some(Token::Sign('{' | '*')))
                || self.tokens[at - 1] != Token::Path
            {
                found.insert(path);
            }
        }
        found
    }
}

fn list(root: &Path, folder: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            if !path.ends_with("/src/bin") {
                list(root, &path, files);
            }
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
}

/// The circles of a crate that are more than one file and its own submodules.
pub(crate) fn circles(krate: &Crate) -> Vec<Circle> {
    let graph = krate.graph();
    let all: BTreeSet<&Names> = graph.keys().copied().collect();
    let mut found = Vec::new();
    look(&graph, &all, &mut found);
    let describe = |names: BTreeSet<&Names>| {
        let files = names.iter().map(|name| krate.modules[*name].path.clone()).collect();
        let mut imports = Vec::new();
        for name in &names {
            for (to, written) in graph[name].iter().filter(|(to, _)| names.contains(to)) {
                let [from, to] = [&krate.modules[*name].path, &krate.modules[to].path];
                imports.push(format!("{from} -> {to}: {}", written.join("::")));
            }
        }
        Circle { files, imports }
    };
    found.into_iter().map(describe).collect()
}

/// A file and its own submodules may import each other; among the submodules there is no circle either.
fn look<'a>(
    graph: &'a BTreeMap<&'a Names, BTreeMap<Names, Names>>,
    within: &BTreeSet<&'a Names>,
    found: &mut Vec<BTreeSet<&'a Names>>,
) {
    for circle in components(graph, within) {
        let above = circle.iter().find(|name| circle.iter().all(|other| other.starts_with(name)));
        match above {
            Some(above) => {
                look(graph, &circle.iter().filter(|name| *name != above).copied().collect(), found)
            }
            None => found.push(circle),
        }
    }
}

/// The sets of more than one module each of which reaches all others of it.
fn components<'a>(
    graph: &'a BTreeMap<&'a Names, BTreeMap<Names, Names>>,
    within: &BTreeSet<&'a Names>,
) -> Vec<BTreeSet<&'a Names>> {
    let reached: BTreeMap<&Names, BTreeSet<&Names>> = within
        .iter()
        .map(|start| {
            let mut seen = BTreeSet::new();
            let mut open = vec![*start];
            while let Some(name) = open.pop() {
                for next in graph[name].keys() {
                    if let Some(next) = within.get(next)
                        && seen.insert(*next)
                    {
                        open.push(next);
                    }
                }
            }
            (*start, seen)
        })
        .collect();
    let mut found: Vec<BTreeSet<&Names>> = Vec::new();
    for (name, reach) in &reached {
        if found.iter().any(|component| component.contains(name)) || !reach.contains(name) {
            continue;
        }
        let component: BTreeSet<&Names> =
            reach.iter().filter(|other| reached[*other].contains(name)).copied().collect();
        if component.len() > 1 {
            found.push(component);
        }
    }
    found
}
