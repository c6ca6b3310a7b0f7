//! `wmdetect key`, which is also `wmgen key`: what a shop without a generator does with keys.

#![allow(missing_docs)]

mod support;

use serde_json::Value;
use support::{Place, key};
use wmdetect::scheme::Key;

fn shown(place: &Place, file: &str) -> Value {
    serde_json::from_str(&place.run(&format!("key show {file} --json")).code(0).out()).unwrap()
}

#[test]
fn a_derived_key_is_the_librarys() {
    let place = Place::new();
    let told = place.run("key derive k.bin acme.bin --label acme/2026-12").code(0);
    assert_eq!(told.out(), "");
    let derived = key(1).derive("acme/2026-12").unwrap();
    assert_eq!(told.errors(), format!("wrote key {} for \"acme/2026-12\" to acme.bin\n", derived.id()));
    assert_eq!(*Key::read(place.path("acme.bin")).unwrap().to_bytes(), *derived.to_bytes());
    let shown = shown(&place, "acme.bin");
    assert_eq!((&shown["key_id"], &shown["label"]), (&derived.id().into(), &"acme/2026-12".into()));

    let again = place.run("key derive k.bin acme.bin --label other").code(2);
    assert!(again.errors().contains("--force"), "{}", again.errors());
    let over = place.run("key derive k.bin k.bin --label acme --force").code(2);
    assert!(over.errors().contains("expected a file that this run does not read"), "{}", over.errors());
    assert_eq!(*Key::read(place.path("k.bin")).unwrap().to_bytes(), *key(1).to_bytes());
}

#[test]
fn the_json_of_another_library_goes_in_and_out() {
    let place = Place::new();
    place.write("hf.json", r#"{"keys": [654, 400, 836], "ngram_len": 5}"#);
    let imported = place.run("key import hf.json hf.bin --scheme synthid-hf").code(0);
    assert!(imported.errors().contains("note: the sampling table"), "{}", imported.errors());
    assert_eq!(shown(&place, "hf.bin")["scheme"], "synthid-hf");
    let exported: Value = serde_json::from_str(&place.run("key export hf.bin").code(0).out()).unwrap();
    assert_eq!(exported["keys"], serde_json::json!([654, 400, 836]));
    assert!(place.run("key export k.bin").code(2).errors().contains("synthid-sha256"));
}

#[test]
fn a_key_is_bound_to_the_tokenizer_of_its_texts() {
    let place = Place::new();
    let before = shown(&place, "k.bin");
    assert_eq!(before["tokenizer"], Value::Null);
    place.run("key bind k.bin --tokenizer tokenizer.json").code(0);
    let after = shown(&place, "k.bin");
    assert_eq!(after["key_id"], before["key_id"]);
    assert!(after["tokenizer"]["rules"].is_string());
}
