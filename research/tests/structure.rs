//! The sources of both crates are layered: no circle among files, no import from a lower room to a higher one,
//! no file that has outgrown its room.

use std::path::{Path, PathBuf};

use wmgen_research::structure::Structure;

/// Rooms of `wmdetect`, the lowest first; rooms on one line do not use each other.
const DETECTOR: &[&str] = &[
    "hex split_mix warning changes id_list pool atomic_file one_line counted timestamp",
    "gguf cache",
    "scheme",
    "text statistics key_directory",
    "verdict segments ignore",
    "attack model_ratio calibration",
    "report",
    "detect signed",
    "render",
    "shell service",
];

/// Rooms of `wmgen`, the lowest first.
const WMGEN: &[&str] = &[
    "kernels",
    "logits",
    "model sample text",
    "engine",
    "default_model quantize train",
    "respond",
    "verify bench eval compare radioactive",
];

/// Lines that a file may have before its tests.
const LINES: usize = 450;

fn sources(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)
}

#[test]
fn no_room_is_on_a_circle() {
    for root in ["src/lib.rs", "src/main.rs", "detector/src/lib.rs", "detector/src/main.rs"] {
        let structure = Structure::read(&sources(root)).unwrap();
        assert_eq!(structure.room_circles(), Vec::<Vec<String>>::new(), "{root}");
    }
}

#[test]
fn no_room_uses_one_above_it() {
    for (root, order) in [("src/lib.rs", WMGEN), ("detector/src/lib.rs", DETECTOR)] {
        let structure = Structure::read(&sources(root)).unwrap();
        assert!(
            structure.unordered(order).is_empty(),
            "{root}: {:?} have no place",
            structure.unordered(order)
        );
        assert_eq!(structure.upward(order), Vec::<String>::new(), "{root}: arrows upwards");
    }
}

#[test]
fn no_file_has_outgrown_its_room() {
    for root in ["src", "detector/src", "research/src"] {
        let mut folders = vec![sources(root)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
                    assert!(lines <= LINES, "{} has {lines} lines before its tests", path.display());
                }
            }
        }
    }
}
