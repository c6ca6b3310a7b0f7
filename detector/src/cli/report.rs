//! `wmdetect report`: keys for signed verdicts, and checking such verdicts.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use wmdetect::counted::counted;
use wmdetect::report::{Row, WarningCode};
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::shell::{self, Content, Hinted, Layout, OneLine, Source, say};
use wmdetect::signed::{SignatureError, SigningKey, Statement, VerifyingKey, jwk_set};
use wmdetect::{Verdict, hex};

use super::args::{ReportCommand, VerifyArgs};
use super::{print, print_json};

/// Fields of a statement, and their names in a row of `score`.
const SHARED: [[&str; 2]; 11] = [
    ["schema_version", "schema_version"],
    ["technique", "scheme"],
    ["key_id", "key_id"],
    ["tokens", "tokens"],
    ["scored_tokens", "scored_tokens"],
    ["verdict", "verdict"],
    ["error_rate", "fpr"],
    ["p_kind", "p_kind"],
    ["log10_p", "log10_p"],
    ["keys_tried", "keys_tried"],
    ["warning_codes", "warning_codes"],
];

pub(super) fn run(command: &ReportCommand) -> Result<ExitCode> {
    match command {
        ReportCommand::Keygen { path, force } => {
            Outputs::new(*force).check(path, Kind::KEY)?;
            let key = SigningKey::generate()?;
            key.write(path, *force)?;
            say(&format!("wrote the key {} to {}", key.verifying_key().kid(), path.display()));
            print(format!("{}\n", key.verifying_key().to_jwk()).as_bytes())?;
        }
        ReportCommand::Key { path, jwks } => {
            let key = shell::read_signing_key(path)?;
            let key = key.verifying_key();
            let public = if *jwks { jwk_set([key]) } else { key.to_jwk() };
            print(format!("{public}\n").as_bytes())?;
        }
        ReportCommand::Verify(args) => return verify(args),
    }
    Ok(ExitCode::SUCCESS)
}

/// The result for one signature.
#[derive(Serialize, JsonSchema)]
pub(super) struct Checked {
    /// Whether the signature holds, is about the given text, and agrees with the fields around it that it covers.
    valid: bool,
    /// Why it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The key that signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// The fields around the signature that it does not cover, so that anybody may have changed them; absent if there
    /// are none, or if it is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    unsigned_fields: Option<Vec<String>>,
    /// The signed statement, even if the text or the row around it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<Statement>,
}

fn verify(args: &VerifyArgs) -> Result<ExitCode> {
    let signed = shell::read_text(&args.path)?;
    let Some(public) = &args.public_key else {
        bail!(Hinted::new(
            "the signature was not checked: expected the public key of who signs, found none; a signature that vouches \
             for itself proves nothing",
            "--public-key FILE takes the JWK or the JWK set that the signer publishes",
        ));
    };
    let keys = VerifyingKey::read(public)?;
    let name = args.path.display().to_string();
    let texts = signatures(&name, &signed)?;
    let sha256 = args.text.as_deref().map(sha256).transpose()?;
    if sha256.is_some() && texts.len() != 1 {
        bail!("{name}: expected one signature, since --text names one text, found {}", texts.len());
    }
    let mut all_valid = true;
    for (input, row) in &texts {
        let checked = check(&keys, row, sha256);
        all_valid &= checked.valid;
        if args.json {
            print_json(&Row::new(input, checked))?;
        } else {
            print(people(input, &checked, sha256.is_some()).as_bytes())?;
        }
    }
    Ok(ExitCode::from(u8::from(!all_valid)))
}

/// Returns the signatures of a file, each with its name: a compact JWS, or JSON that has it in a field.
fn signatures(name: &str, text: &str) -> Result<Vec<(String, Value)>> {
    let text = text.trim();
    if !text.starts_with('{') {
        let jws = text.to_owned();
        return Ok(vec![(name.to_owned(), serde_json::json!({ "signature": jws }))]);
    }
    if let Ok(row) = serde_json::from_str(text) {
        return Ok(vec![(name.to_owned(), row)]);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(number, line): (usize, &str)| {
        let input = format!("{name}:{}", number + 1);
        let row = serde_json::from_str(line);
        Ok((input.clone(), row.with_context(|| format!("{input}: expected a JSON object with a signature"))?))
    };
    lines.map(row).collect()
}

/// Checks the signature of a row, whether it is about the text with the hash `sha256`, and whether the row agrees with
/// the signed statement.
fn check(keys: &[VerifyingKey], row: &Value, sha256: Option<[u8; 32]>) -> Checked {
    let invalid = |error: String| Checked {
        valid: false,
        error: Some(error),
        kid: None,
        unsigned_fields: None,
        statement: None,
    };
    let Some(jws) = row["signature"].as_str() else {
        return invalid("expected an object with the field \"signature\", found none".into());
    };
    let results = keys.iter().map(|key| (key, key.verify(jws)));
    // Among several keys, the one that the signature names.
    let (key, result) = results
        .reduce(|best, next| {
            if matches!(best.1, Err(SignatureError::OtherKey { .. })) || next.1.is_ok() { next } else { best }
        })
        .expect("there is at least one key");
    let statement = match result {
        Ok(statement) => statement,
        Err(error) => return invalid(error.to_string()),
    };
    let other_text = sha256.filter(|found| *found != statement.sha256).map(|found| {
        format!(
            "the signed verdict is about another text: expected the SHA-256 {}, found {}",
            hex::encode(&statement.sha256),
            hex::encode(&found)
        )
    });
    let (error, unsigned) = match other_text.map_or_else(|| unsigned_fields(row, &statement), Err) {
        Ok(unsigned) => (None, unsigned),
        Err(error) => (Some(error), Vec::new()),
    };
    Checked {
        valid: error.is_none(),
        error,
        kid: Some(key.kid().into()),
        unsigned_fields: Some(unsigned).filter(|fields| !fields.is_empty()),
        statement: Some(statement),
    }
}

/// Returns the fields of a row that the signed statement says nothing of.
///
/// # Errors
/// Returns an error if another field differs from the statement, or if the row's p cannot be that of the signed
/// verdict.
fn unsigned_fields(row: &Value, statement: &Statement) -> Result<Vec<String>, String> {
    let signed = serde_json::to_value(statement).map_err(|error| error.to_string())?;
    let mut unsigned = Vec::new();
    let fields = row.as_object().into_iter().flatten();
    for (name, found) in fields.filter(|(name, _)| name.as_str() != "signature") {
        let of_statement = SHARED.iter().find(|shared| shared[1] == name.as_str()).map(|shared| shared[0]);
        // A statement without p has no such field.
        match of_statement.and_then(|of_statement| signed.get(of_statement)) {
            Some(expected) if found == expected => {}
            Some(expected) if !is_open(name, statement) => {
                return Err(format!(
                    "the object around the signature differs from the signed statement: {name}: expected {expected}, \
                     found {found}"
                ));
            }
            _ => unsigned.push(name.clone()),
        }
    }
    if let Some(error) = other_p(row, statement) {
        return Err(error);
    }
    Ok(unsigned)
}

/// Returns whether a row may have another value in this field than the statement.
fn is_open(name: &str, statement: &Statement) -> bool {
    match name {
        // An operator's row names the key with the least p, even if no key marked the text.
        "key_id" => statement.key_id.is_none() && statement.verdict != Verdict::Watermarked,
        // A code of a newer version is read as unknown.
        "warning_codes" => statement.warning_codes.contains(&WarningCode::Unknown),
        _ => false,
    }
}

/// Returns why the p of a row cannot be the one behind the signed verdict.
fn other_p(row: &Value, statement: &Statement) -> Option<String> {
    // Far more than p loses on its way through JSON and a logarithm.
    const SLACK: f64 = 1e-9;
    let (verdict, rate) = (statement.verdict, statement.error_rate);
    let log10 = |name: &str| {
        let p = row.get(name)?.as_f64()?;
        Some(if name == "p_value" { p.log10() } else { p })
    };
    let fits = |name: &str, found: &Value| match (verdict, log10(name)) {
        (Verdict::Watermarked, Some(p)) => p <= rate.log10() + SLACK,
        (_, Some(p)) => p >= rate.log10() - SLACK,
        // Nothing was scored.
        (_, None) => found.is_null() && verdict == Verdict::TooShort,
    };
    for name in ["p_value", "log10_p"] {
        if let Some(found) = row.get(name).filter(|found| !fits(name, found)) {
            let side = if verdict == Verdict::Watermarked { "at most" } else { "above" };
            return Some(format!(
                "the object around the signature contradicts the signed verdict {}: {name}: expected a p {side} \
                 {rate:?}, found {found}",
                verdict.name()
            ));
        }
    }
    let (of_p, of_log10) = (log10("p_value")?, log10("log10_p")?);
    let same = (of_p - of_log10.max(f64::MIN_POSITIVE.log10())).abs() <= SLACK;
    (!same).then(|| {
        format!(
            "the object around the signature contradicts itself: p_value: expected 10 to the power of log10_p, {}, \
             found {}",
            row["log10_p"], row["p_value"]
        )
    })
}

/// Returns the SHA-256 of a text as `score` reads it: decompressed, otherwise unchanged.
fn sha256(path: &Path) -> Result<[u8; 32]> {
    let mut found = None;
    shell::for_each(&[path.to_owned()], &Layout::default(), |label, source| {
        let content = source.and_then(Source::in_memory).with_context(|| label.input.clone())?;
        if let Content::Text(bytes) = content {
            found = Some(Sha256::digest(&bytes).into());
        }
        Ok(())
    })?;
    found.context("no text was read")
}

/// Returns the lines for people.
fn people(input: &str, checked: &Checked, with_text: bool) -> String {
    let input = OneLine(input);
    let mut text = match (&checked.error, &checked.kid) {
        (Some(error), _) => format!("{input}: not valid: {}\n", OneLine(error)),
        (None, kid) => {
            format!("{input}: valid, signed with the key {}\n", kid.as_deref().unwrap_or_default())
        }
    };
    let Some(signed) = &checked.statement else { return text };
    let key = match &signed.key_id {
        Some(id) => format!("key {id}"),
        None => counted(signed.keys_tried, "key"),
    };
    let program = format!("{} {}", signed.detector, signed.version);
    let compared = if with_text { "" } else { " (not compared: no --text)" };
    let mut lines = vec![
        format!("verdict     {} at an error rate of {}", signed.verdict.name(), signed.error_rate),
        format!("looked for  {}, {key}", signed.technique),
        format!("tokens      {}, {} of them scored", signed.tokens, signed.scored_tokens),
        format!("by          {program}, {}", signed.time),
        format!("SHA-256     {}{compared}", hex::encode(&signed.sha256)),
    ];
    if !signed.warning_codes.is_empty() {
        let codes = serde_json::to_value(&signed.warning_codes).unwrap_or_default();
        let codes: Vec<&str> = codes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        lines.push(format!("warnings    {}", codes.join(", ")));
    }
    if let Some(fields) = &checked.unsigned_fields {
        lines.push(format!("not signed  {}", fields.join(", ")));
    }
    for line in &lines {
        let _ = writeln!(text, "  {}", OneLine(line));
    }
    text
}
