use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::scheme::Key;
use crate::{Detector, Input, Keyring};

/// RFC 8037, appendix A.1 and A.2.
const PRIVATE: &str = r#"{"kty":"OKP","crv":"Ed25519",
   "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
   "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const PUBLIC: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn key() -> SigningKey {
    SigningKey::from_jwk(PRIVATE.as_bytes(), "test").unwrap()
}

fn statement() -> Statement {
    let ids: Vec<u32> = (0..100).collect();
    let report = Detector::builder(Key::from_bytes(&[7; 32], "test").unwrap())
        .build()
        .unwrap()
        .score(Input::tokens(&ids));
    Statement::of(&report.unwrap(), [9; 32], "2026-12-01T08:30:00Z".parse().unwrap())
}

/// Returns a JWS of the key with this header and this payload.
fn signed(header: &Value, payload: &Value) -> String {
    key().sign_bytes(header.to_string().as_bytes(), payload.to_string().as_bytes())
}

#[test]
fn keys_and_signatures_are_those_of_rfc_8037() {
    let public = &VerifyingKey::from_jwks(PUBLIC.as_bytes(), "test").unwrap()[0];
    // Appendix A.3.
    assert_eq!(public.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    assert_eq!(key().verifying_key(), public);
    // Appendices A.4 and A.5.
    let jws = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhij\
               cNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(key().sign_bytes(br#"{"alg":"EdDSA"}"#, b"Example of Ed25519 signing"), jws);
    assert_eq!(public.payload(jws).unwrap(), b"Example of Ed25519 signing");
    // It is not a verdict.
    assert!(matches!(public.verify(jws), Err(SignatureError::Type { .. })));
}

#[test]
fn what_was_signed_comes_back_and_any_change_is_seen() {
    let (key, statement) = (key(), statement());
    let jws = key.sign(&statement);
    assert_eq!(key.verifying_key().verify(&jws).unwrap(), statement);
    for at in 0..jws.len() {
        for other in ['A', 'Q', 'g', '.', '=', '_'] {
            let mut changed = jws.clone();
            changed.replace_range(at..=at, &other.to_string());
            assert!(changed == jws || key.verifying_key().verify(&changed).is_err(), "{at} {other}");
        }
    }
    for changed in [
        format!("{jws}A"),
        format!("{jws}="),
        format!("{jws}."),
        jws[1..].into(),
        jws[..jws.len() - 1].into(),
    ] {
        assert!(key.verifying_key().verify(&changed).is_err(), "{changed}");
    }
    let other = SigningKey::generate().unwrap();
    assert!(matches!(other.verifying_key().verify(&jws), Err(SignatureError::OtherKey { .. })));
    // Without a kid only the signature says which key it was.
    let header = json!({ "alg": "EdDSA", "typ": "wmdetect-verdict+jws" });
    let jws = signed(&header, &serde_json::to_value(&statement).unwrap());
    assert_eq!(key.verifying_key().verify(&jws).unwrap(), statement);
    assert!(matches!(other.verifying_key().verify(&jws), Err(SignatureError::Wrong { .. })));
}

#[test]
fn a_header_cannot_choose_how_it_is_checked() {
    let key = key();
    let payload = serde_json::to_value(statement()).unwrap();
    let check = |header: Value| key.verifying_key().verify(&signed(&header, &payload)).unwrap_err();
    let typ = "wmdetect-verdict+jws";
    for alg in ["none", "None", "HS256", "ES256", "eddsa", ""] {
        let error = check(json!({ "alg": alg, "typ": typ }));
        assert_eq!(error, SignatureError::Algorithm { found: alg.into() });
    }
    // The public key as the secret of an HMAC, and a JWS without a signature.
    let unsigned = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "typ": typ }).to_string());
    let unsigned = format!("{unsigned}.{}.", URL_SAFE_NO_PAD.encode(payload.to_string()));
    assert!(matches!(key.verifying_key().verify(&unsigned), Err(SignatureError::Algorithm { .. })));
    for extension in [
        json!({ "crit": ["exp"] }),
        json!({ "crit": null }),
        json!({ "crit": ["b64"], "b64": false }),
        json!({ "b64": true }),
    ] {
        let mut header = json!({ "alg": "EdDSA", "typ": typ });
        header.as_object_mut().unwrap().extend(extension.as_object().unwrap().clone());
        assert!(matches!(check(header), SignatureError::Extension { .. }), "{extension}");
    }
    assert!(matches!(check(json!({ "typ": typ })), SignatureError::Malformed { .. }));
    assert!(matches!(check(json!({ "alg": "EdDSA", "typ": "JWT" })), SignatureError::Type { .. }));
    // A key that comes with the signature is not trusted.
    let forger = SigningKey::generate().unwrap();
    let jwk: Value = serde_json::from_str(&forger.verifying_key().to_jwk()).unwrap();
    let header = json!({ "alg": "EdDSA", "typ": typ, "jwk": jwk });
    let jws = forger.sign_bytes(header.to_string().as_bytes(), payload.to_string().as_bytes());
    assert!(matches!(key.verifying_key().verify(&jws), Err(SignatureError::Wrong { .. })));
    let mut later = payload.clone();
    later["schema_version"] = 2.into();
    let error =
        key.verifying_key().verify(&signed(&json!({ "alg": "EdDSA", "typ": typ }), &later)).unwrap_err();
    assert_eq!(error, SignatureError::Statement { expected: 1, found: "version 2".into() });
}

#[test]
fn a_statement_names_a_key_that_it_can_speak_of() {
    let statement = statement();
    let ids: Vec<u32> = (0..100).collect();
    assert_ne!(statement.verdict, Verdict::Watermarked);
    assert!(statement.key_id.is_some());
    let ring = Keyring::new([1, 2].map(|byte| Key::from_bytes(&[byte; 32], "test").unwrap()).into()).unwrap();
    let report = Detector::builder(ring).build().unwrap().score(Input::tokens(&ids)).unwrap();
    let of = Statement::of(&report, [0; 32], Timestamp::now());
    assert_eq!((of.verdict, of.key_id, of.keys_tried), (report.verdict, None, 2));
    let json = serde_json::to_value(&statement).unwrap();
    assert_eq!(json["sha256"], "09".repeat(32));
    assert_eq!(json["time"], "2026-12-01T08:30:00Z");
    assert!(json.get("log10_p").is_none());
    assert_eq!(statement.with_log10_p(Some(-4.0)).log10_p, Some(-4.0));
}

#[test]
fn keys_are_written_read_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let [path, public] = ["sign.key", "public"].map(|name| dir.path().join(name));
    let key = SigningKey::generate().unwrap();
    key.write(&path, false).unwrap();
    key.write(&path, false).unwrap_err();
    assert_eq!(SigningKey::read(&path).unwrap().verifying_key(), key.verifying_key());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let jwk: Value = serde_json::from_str(&key.to_jwk()).unwrap();
    let secret = jwk["d"].as_str().unwrap();
    assert!(!format!("{key:?}").contains(secret));
    // A private key must not be given to people who check signatures.
    let refused = VerifyingKey::read(&path).unwrap_err().to_string();
    assert!(refused.contains("a private key") && !refused.contains(secret), "{refused}");
    let other = SigningKey::generate().unwrap();
    let foreign = r#"{"kty":"RSA","n":"AQ","e":"AQAB"}"#;
    let set = jwk_set([other.verifying_key(), key.verifying_key()]).replacen('[', &format!("[{foreign},"), 1);
    std::fs::write(&public, set).unwrap();
    assert_eq!(
        VerifyingKey::read(&public).unwrap(),
        [other.verifying_key().clone(), key.verifying_key().clone()]
    );
    // The identity point verifies anything.
    let weak = URL_SAFE_NO_PAD.encode([&[1][..], &[0; 31]].concat());
    for wrong in [
        "",
        "{}",
        foreign,
        &format!("{{\"keys\":[{foreign}]}}"),
        &PUBLIC.replace("Ed25519", "X25519"),
        &PUBLIC.replace("11qY", ""),
        &PUBLIC.replace("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", &weak),
        &PUBLIC.replace('}', ",\"use\":\"enc\"}"),
    ] {
        assert!(VerifyingKey::from_jwks(wrong.as_bytes(), "test").is_err(), "{wrong}");
        assert!(SigningKey::from_jwk(wrong.as_bytes(), "test").is_err(), "{wrong}");
    }
    for wrong in [
        PUBLIC,
        &PRIVATE.replace("11qY", "21qY"),
        &PRIVATE.replace("nWGx", "nWGxnWGx"),
        &PRIVATE.replace("f2A\"", "\""),
    ] {
        let error = SigningKey::from_jwk(wrong.as_bytes(), "test").unwrap_err().to_string();
        assert!(!error.contains("nWGx"), "{error}");
    }
}
