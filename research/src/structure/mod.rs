//! Reads which file of a crate uses which, and finds what a layered crate must not have: circles among the rooms of a
//! folder, and imports from a lower room to a higher one.
//!
//! An arrow goes from file A to file B if the code of A names an item that B defines, through however many re-exports.
//! Declaring a module and re-exporting an item are not uses. Code under `#[cfg(test)]` is left out.
//!
//! A room is a module of a folder with all modules inside it. The file of a module and the files inside may use each
//! other. Two rooms of one folder may use each other in one direction only, so a circle among files shows as a circle
//! among the rooms of the folder that they share.

mod graph;
mod modules;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub use graph::circles;
pub use modules::ReadError;

use modules::Tree;

/// The arrows of one crate: each file, and the files that it uses.
#[derive(Debug, Default)]
pub struct Structure {
    /// Paths are relative to the folder of the crate's root file.
    pub uses: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// The module path of each file, without the crate's name; the root file has none.
    pub modules: BTreeMap<PathBuf, Vec<String>>,
}

impl Structure {
    /// Reads the crate whose root file is `root`, such as `src/lib.rs`.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or is not Rust.
    pub fn read(root: &Path) -> Result<Self, ReadError> {
        let tree = Tree::read(root)?;
        let folder = root.parent().unwrap_or(Path::new(""));
        let name = |file: &Path| file.strip_prefix(folder).unwrap_or(file).to_owned();
        let mut structure = Self::default();
        for module in tree.modules.values().filter(|module| module.is_file) {
            structure.modules.insert(name(&module.file), module.path.clone());
            structure.uses.insert(name(&module.file), BTreeSet::new());
        }
        for module in tree.modules.values() {
            for path in &module.uses {
                if let Some(target) = tree.file_of(&module.path, path)
                    && target != module.file
                {
                    structure.uses.entry(name(&module.file)).or_default().insert(name(&target));
                }
            }
        }
        Ok(structure)
    }

    /// Returns the circles among the rooms of each folder, each as the rooms on it.
    pub fn room_circles(&self) -> Vec<Vec<String>> {
        let folders: BTreeSet<&[String]> =
            self.modules.values().filter_map(|path| path.split_last().map(|(_, folder)| folder)).collect();
        folders.into_iter().flat_map(|folder| circles(&self.rooms(folder))).collect()
    }

    /// Returns the arrows from a room of the crate to one above it, as `file -> file`. `order` lists the crate's rooms,
    /// the lowest first; rooms that share an entry, separated by spaces, may not use each other.
    pub fn upward(&self, order: &[&str]) -> Vec<String> {
        let height = |file: &PathBuf| {
            let room = self.modules[file].first()?;
            order.iter().position(|level| level.split(' ').any(|name| name == room))
        };
        let room = |file: &PathBuf| self.modules[file].first();
        self.arrows()
            .filter(|(from, to)| match (height(from), height(to)) {
                (Some(from_height), Some(to_height)) => {
                    to_height > from_height || (to_height == from_height && room(from) != room(to))
                }
                _ => false,
            })
            .map(|(from, to)| format!("{} -> {}", from.display(), to.display()))
            .collect()
    }

    /// Returns the rooms of the crate that `order` does not name.
    pub fn unordered(&self, order: &[&str]) -> BTreeSet<String> {
        let named: BTreeSet<&str> = order.iter().flat_map(|level| level.split(' ')).collect();
        let rooms = self.modules.values().filter_map(|path| path.first());
        rooms.filter(|room| !named.contains(room.as_str())).cloned().collect()
    }

    fn arrows(&self) -> impl Iterator<Item = (&PathBuf, &PathBuf)> {
        self.uses.iter().flat_map(|(from, targets)| targets.iter().map(move |to| (from, to)))
    }

    /// The arrows between the rooms of the module `folder`.
    fn rooms(&self, folder: &[String]) -> BTreeMap<String, BTreeSet<String>> {
        let room = |file: &PathBuf| {
            let path = &self.modules[file];
            (path.len() > folder.len() && path.starts_with(folder)).then(|| path[..=folder.len()].join("::"))
        };
        let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in self.arrows() {
            if let (Some(from), Some(to)) = (room(from), room(to))
                && from != to
            {
                rooms.entry(to.clone()).or_default();
                rooms.entry(from).or_default().insert(to);
            }
        }
        rooms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate of the given files, in a folder of the system's temporary one.
    fn structure(files: &[(&str, &str)]) -> Structure {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Structure::read(&folder.path().join("lib.rs")).unwrap()
    }

    fn arrows(structure: &Structure) -> Vec<String> {
        structure.arrows().map(|(from, to)| format!("{} -> {}", from.display(), to.display())).collect()
    }

    #[test]
    fn an_arrow_ends_where_the_item_is_defined() {
        let structure = structure(&[
            ("lib.rs", "mod low; mod high; pub use low::Item;"),
            ("low/mod.rs", "mod deep; pub use deep::*;"),
            ("low/deep.rs", "pub struct Item; pub fn call() {}"),
            (
                "high.rs",
                "use crate::Item; use crate::low as below; fn f(_: Item) { println!(\"{:?}\", below::call()) }",
            ),
        ]);
        assert_eq!(arrows(&structure), ["high.rs -> low/deep.rs", "high.rs -> low/mod.rs"]);
    }

    #[test]
    fn tests_and_other_crates_are_not_looked_at() {
        let structure = structure(&[
            ("lib.rs", "mod a; mod b;"),
            (
                "a.rs",
                "#[cfg(test)] mod tests { use crate::b::B; } #[cfg(all(test, unix))] use crate::b::B; pub struct A;",
            ),
            ("b.rs", "use std::fmt; use serde::b; pub struct B(crate::a::A);"),
        ]);
        assert_eq!(arrows(&structure), ["b.rs -> a.rs"]);
    }

    #[test]
    fn a_circle_is_found_through_rooms_that_share_no_file() {
        let structure = structure(&[
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a/mod.rs", "mod x; mod y; pub use x::X; pub struct A; fn f(_: x::X) {}"),
            ("a/x.rs", "pub struct X(super::A);"),
            ("a/y.rs", "use crate::b::W;"),
            ("b/mod.rs", "mod w; mod z; pub use w::W;"),
            ("b/w.rs", "pub struct W;"),
            ("b/z.rs", "fn f(_: crate::a::X) {}"),
            ("c.rs", "use crate::a::A;"),
        ]);
        assert_eq!(structure.room_circles(), [["a", "b"]]);
        assert_eq!(structure.upward(&["a", "b", "c"]), ["a/y.rs -> b/w.rs"]);
        assert_eq!(structure.upward(&["a c", "b"]), ["a/y.rs -> b/w.rs", "c.rs -> a/mod.rs"]);
        assert_eq!(structure.unordered(&["a c"]), BTreeSet::from(["b".to_owned()]));
    }
}
