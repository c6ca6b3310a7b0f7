use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::scheme::Preset;

/// Returns a directory with the keys `a.bin`, `b.bin` and `c.bin`, and their ids.
fn directory() -> (tempfile::TempDir, [String; 3]) {
    let dir = tempfile::tempdir().unwrap();
    let ids = ["a.bin", "b.bin", "c.bin"].map(|file| {
        let key = Key::generate(Preset::default()).unwrap();
        key.write(dir.path().join(file), false).unwrap();
        key.id()
    });
    (dir, ids)
}

fn at(moment: &str) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(moment.parse::<Timestamp>().unwrap().unix() as u64)
}

/// Returns a list with a line of fields for each key.
fn list(keys: &[&str]) -> String {
    keys.iter()
        .flat_map(|fields| ["[[key]]\n", &fields.replace("; ", "\n"), "\n"].map(str::to_owned))
        .collect()
}

#[test]
fn the_key_in_force_is_the_active_one_that_began_last() {
    let (dir, ids) = directory();
    let keys = [
        &format!("file = 'a.bin'; id = '{}'; label = 'acme'; not_after = 2026-12-31", ids[0]),
        "file = 'b.bin'; label = 'acme'; not_before = 2026-12-01T00:00:00+01:00; not_after = '2027-01-31'",
        "file = 'c.bin'; label = 'acme'; status = 'retired'; not_before = 2026-12-15",
    ];
    fs::write(dir.path().join("keys.toml"), list(&keys)).unwrap();
    let keys = KeyDirectory::open(dir.path()).unwrap();
    let active =
        |moment, label| keys.active(at(moment), label).map(KeyEntry::file).map_err(|error| error.to_string());
    for label in [None, Some("acme")] {
        for (moment, file) in [
            ("2020-01-01T00:00:00Z", "a.bin"),
            ("2026-11-30T22:59:59Z", "a.bin"),
            ("2026-11-30T23:00:00Z", "b.bin"),
            ("2027-01-31T23:59:59Z", "b.bin"),
        ] {
            assert_eq!(active(moment, label).unwrap(), file, "{moment}");
        }
    }
    let late = active("2027-02-01T00:00:00Z", None).unwrap_err();
    for part in [
        "2027-02-01T00:00:00Z",
        "b.bin (active, label \"acme\", from 2026-11-30T23:00:00Z, until 2027-01-31T23:59:59Z)",
    ] {
        assert!(late.contains(part), "{late}");
    }
    let other = active("2027-01-01T00:00:00Z", Some("globex")).unwrap_err();
    assert!(other.contains("globex") && other.contains("label \"acme\""), "{other}");
}

#[test]
fn two_keys_that_begin_alike_are_not_chosen_from() {
    let (dir, _) = directory();
    let now = SystemTime::now();
    let both =
        |dir: &Path| KeyDirectory::open(dir).unwrap().active(now, None).map(|entry| entry.file.clone());
    let error = both(dir.path()).unwrap_err();
    assert!(
        matches!(&error, KeyDirectoryError::SeveralActive { found, .. } if found.contains("a.bin") && found.contains("c.bin"))
    );
    // The same key twice is one key.
    for file in ["b.bin", "c.bin"] {
        fs::copy(dir.path().join("a.bin"), dir.path().join(file)).unwrap();
    }
    assert_eq!(both(dir.path()).unwrap(), "a.bin, b.bin, c.bin");
    let (dir, _) = directory();
    let keys = ["file = 'a.bin'", "file = 'b.bin'; label = 'b'", "file = 'c.bin'; status = 'leaked'"];
    fs::write(dir.path().join("keys.toml"), list(&keys)).unwrap();
    both(dir.path()).unwrap_err();
    let directory = KeyDirectory::open(dir.path()).unwrap();
    assert_eq!(directory.active(now, Some("b")).unwrap().file(), "b.bin");
}

#[test]
fn a_list_that_does_not_fit_is_refused() {
    let (dir, ids) = directory();
    let rest = "[[key]]\nfile = 'b.bin'\n[[key]]\nfile = 'c.bin'\n";
    for (first, expected) in [
        ("", "found also a.bin"),
        (&*format!("file = 'a.bin'; id = '{}'", ids[1]), &*format!("found the key {}", ids[0])),
        ("file = 'd.bin'", "d.bin: there is no such key file"),
        ("file = '../a.bin'", "expected the name of a file in the directory"),
        ("file = 'b.bin'", "expected each file once"),
        ("file = 'a.bin'; not_afer = 2026-12-01", "line 3: unknown field `not_afer`"),
        ("file = 'a.bin'; status = 'lost'", "unknown variant `lost`"),
        ("file = 'a.bin'; not_before = 2026-12-01T08:00:00", "found 2026-12-01T08:00:00"),
        ("file = 'a.bin'; not_before = 'tomorrow'", "found \"tomorrow\""),
        ("file = 'a.bin'; not_before = 2026-12-02; not_after = 2026-12-01", "later than not_before"),
        ("file = ", "line 2: "),
    ] {
        let first = if first.is_empty() { String::new() } else { list(&[first]) };
        fs::write(dir.path().join("keys.toml"), first.clone() + rest).unwrap();
        let error = KeyDirectory::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{first}: {error}");
    }
    fs::copy(dir.path().join("b.bin"), dir.path().join("a.bin")).unwrap();
    fs::write(dir.path().join("keys.toml"), list(&["file = 'a.bin'; status = 'leaked'"]) + rest).unwrap();
    let error = KeyDirectory::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("expected each key once"), "{error}");
}

/// Keys in there would not be read, and their texts would pass for unmarked.
#[test]
fn without_a_list_a_subdirectory_is_refused() {
    let (dir, _) = directory();
    fs::create_dir(dir.path().join(".git")).unwrap();
    assert_eq!(KeyDirectory::open(dir.path()).unwrap().entries().len(), 3);
    fs::create_dir(dir.path().join("acme")).unwrap();
    let error = KeyDirectory::open(dir.path()).unwrap_err().to_string();
    assert!(error.ends_with("expected key files, found the directory acme"), "{error}");
    let all = list(&["file = 'a.bin'", "file = 'b.bin'", "file = 'c.bin'"]);
    fs::write(dir.path().join("keys.toml"), all).unwrap();
    assert_eq!(KeyDirectory::open(dir.path()).unwrap().entries().len(), 3);
}

#[test]
fn a_change_is_seen_and_a_broken_one_changes_nothing() {
    let (dir, ids) = directory();
    let mut keys = KeyDirectory::open(dir.path()).unwrap();
    assert!(!keys.reload_if_changed().unwrap());
    fs::write(dir.path().join("keys.toml"), list(&["file = 'a.bin'"])).unwrap();
    for _ in 0..2 {
        keys.reload_if_changed().unwrap_err();
        assert_eq!(keys.entries().iter().map(KeyEntry::id).collect::<Vec<_>>(), ids);
    }
    for file in ["b.bin", "c.bin"] {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    assert!(keys.reload_if_changed().unwrap());
    assert_eq!(keys.entries().iter().map(KeyEntry::id).collect::<Vec<_>>(), ids[..1]);
    // Another key of the same size in a file's place.
    let other = Key::generate(Preset::default()).unwrap();
    other.write(dir.path().join("a.bin"), true).unwrap();
    assert!(keys.reload_if_changed().unwrap());
    assert_eq!(keys.entries()[0].id(), other.id());
}
