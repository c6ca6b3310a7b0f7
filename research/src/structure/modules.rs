//! The modules of a crate: what each defines, imports and uses.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::{Item, UseTree, Visibility};

use super::paths::{Paths, is_test};

/// A file of a crate cannot be read.
#[derive(Debug)]
pub enum ReadError {
    /// The system refuses.
    Io(PathBuf, std::io::Error),
    /// The file is not Rust.
    Syntax(PathBuf, syn::Error),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Syntax(path, error) => write!(f, "{} is not Rust: {error}", path.display()),
        }
    }
}

impl std::error::Error for ReadError {}

/// One module, a file or a part of one.
#[derive(Debug, Default)]
pub(super) struct Module {
    pub(super) path: Vec<String>,
    pub(super) file: PathBuf,
    /// Whether it is the file and not a part of it.
    pub(super) is_file: bool,
    /// Names of the items that it defines.
    defines: BTreeSet<String>,
    /// Names that it has from elsewhere, and their paths.
    imports: BTreeMap<String, Vec<String>>,
    /// Paths all of whose items it has.
    globs: Vec<Vec<String>>,
    /// Paths that its code names; those of re-exports are not among them.
    pub(super) uses: BTreeSet<Vec<String>>,
}

/// All modules of a crate by their paths.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) modules: BTreeMap<Vec<String>, Module>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self, ReadError> {
        let mut tree = Self::default();
        tree.file(root, Vec::new(), root.parent().unwrap_or(Path::new("")))?;
        Ok(tree)
    }

    /// Reads `file`, whose submodules lie in `folder`.
    fn file(&mut self, file: &Path, path: Vec<String>, folder: &Path) -> Result<(), ReadError> {
        let text = std::fs::read_to_string(file).map_err(|error| ReadError::Io(file.to_owned(), error))?;
        let syntax = syn::parse_file(&text).map_err(|error| ReadError::Syntax(file.to_owned(), error))?;
        self.module(file, path, folder, &syntax.items, true)
    }

    fn module(
        &mut self,
        file: &Path,
        path: Vec<String>,
        folder: &Path,
        items: &[Item],
        is_file: bool,
    ) -> Result<(), ReadError> {
        let mut module = Module { path: path.clone(), file: file.to_owned(), is_file, ..Module::default() };
        for item in items {
            match item {
                Item::Mod(item) if !is_test(&item.attrs) => {
                    let name = item.ident.to_string();
                    let inner = [&path[..], std::slice::from_ref(&name)].concat();
                    let folder = folder.join(&name);
                    if let Some((_, items)) = &item.content {
                        self.module(file, inner, &folder, items, false)?;
                        continue;
                    }
                    let beside = folder.with_extension("rs");
                    let inside = folder.join("mod.rs");
                    self.file(if beside.exists() { &beside } else { &inside }, inner, &folder)?;
                }
                Item::Use(item) if !is_test(&item.attrs) => {
                    let public = !matches!(item.vis, Visibility::Inherited);
                    module.import(&item.tree, &mut Vec::new(), public);
                }
                _ => {}
            }
        }
        let mut paths = Paths::default();
        for item in items.iter().filter(|item| !matches!(item, Item::Mod(_) | Item::Use(_))) {
            paths.item(item);
        }
        module.defines = paths.defined;
        module.uses.extend(paths.named);
        self.modules.insert(path, module);
        Ok(())
    }

    /// The file that defines what `path` names inside the module `from`; none for what is not of this crate.
    pub(super) fn file_of(&self, from: &[String], path: &[String]) -> Option<PathBuf> {
        self.resolve(from, path, 0)
    }

    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        // Imports that lead to each other.
        if depth > 16 {
            return None;
        }
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => return self.inside(&[], rest, depth),
            "self" => return self.inside(from, rest, depth),
            "super" => return self.resolve_super(from, rest, depth),
            _ => {}
        }
        let module = self.modules.get(from)?;
        let child = [from, std::slice::from_ref(first)].concat();
        let known = self.modules.contains_key(&child)
            || module.imports.contains_key(first)
            || module.defines.contains(first);
        // A path of several names that begins with an unknown one is another crate's.
        (known || path.len() == 1).then(|| self.inside(from, path, depth))?
    }

    fn resolve_super(&self, from: &[String], rest: &[String], depth: usize) -> Option<PathBuf> {
        let (_, parent) = from.split_last()?;
        match rest.first().map(String::as_str) {
            Some("super") => self.resolve_super(parent, &rest[1..], depth),
            _ => self.inside(parent, rest, depth),
        }
    }

    /// Follows `path` from the module `at`.
    fn inside(&self, at: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        let module = self.modules.get(at)?;
        let Some((first, rest)) = path.split_first() else { return Some(module.file.clone()) };
        let child = [at, std::slice::from_ref(first)].concat();
        if self.modules.contains_key(&child) {
            return self.inside(&child, rest, depth);
        }
        if let Some(target) = module.imports.get(first) {
            return self.resolve(at, &[&target[..], rest].concat(), depth + 1);
        }
        if module.defines.contains(first) {
            return Some(module.file.clone());
        }
        module.globs.iter().find_map(|glob| self.resolve(at, &[&glob[..], path].concat(), depth + 1))
    }
}

impl Module {
    fn import(&mut self, tree: &UseTree, before: &mut Vec<String>, public: bool) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, public);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.import(tree, before, public)),
            UseTree::Name(name) if name.ident == "self" => {
                let last = before.last().cloned().unwrap_or_default();
                self.add(last, before.clone(), public);
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.add(name.clone(), [&before[..], &[name]].concat(), public);
            }
            UseTree::Rename(rename) => {
                let path = [&before[..], &[rename.ident.to_string()]].concat();
                self.add(rename.rename.to_string(), path, public);
            }
            UseTree::Glob(_) => self.globs.push(before.clone()),
        }
    }

    fn add(&mut self, name: String, path: Vec<String>, public: bool) {
        if !public {
            self.uses.insert(path.clone());
        }
        self.imports.insert(name, path);
    }
}
