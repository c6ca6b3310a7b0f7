//! The file of receipts: one line for each text that was written.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest, Sha256};
use wmdetect::{hex, shell};
use wmgen::engine::FinishReason;
use wmgen::respond::{ModelReceipt, Receipt, Timing, WatermarkReceipt};
use wmgen::sample::Sampling;

/// Destination of receipts: a file, or nowhere.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    file: Option<Mutex<File>>,
    /// Whether lines contain the text, its tokens and those of the prompt.
    with_text: bool,
    /// Whether a line could not be written.
    failed: AtomicBool,
}

/// A line of the receipts. If it has the text, `wmgen verify` can read it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Line<'a> {
    /// Seconds since 1970.
    time: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    text_sha256: String,
    text_tokens: usize,
    #[serde(flatten)]
    receipt: Kept<'a>,
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Kept<'a> {
    Whole(&'a Receipt),
    WithoutText {
        request_id: Option<&'a str>,
        tenant: Option<&'a str>,
        schema_version: u32,
        finish_reason: Option<FinishReason>,
        watermark: &'a WatermarkReceipt,
        sampling: Sampling,
        model: &'a ModelReceipt,
        timing: Timing,
        prompt_token_count: usize,
        warning_codes: &'a [wmdetect::report::WarningCode],
    },
}

impl Receipts {
    /// Opens the file at `path` for appending, with mode 0600 if it is new. A last line that a crash cut off is removed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened or read.
    pub(super) fn open(path: &Path, with_text: bool) -> Result<Self> {
        let open = || -> std::io::Result<File> {
            if let Some(found) = shell::other_than_a_file(path) {
                return Err(std::io::Error::other(format!("expected a regular file, found {found}")));
            }
            let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
            check_beginning(&mut file)?;
            let kept = whole_lines(&mut file)?;
            file.set_len(kept)?;
            Ok(file)
        };
        let file = open().with_context(|| format!("cannot open {} for receipts", path.display()))?;
        Ok(Self { file: Some(Mutex::new(file)), with_text, failed: AtomicBool::new(false) })
    }

    /// Returns whether all lines so far were written.
    pub(super) fn are_kept(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    /// Writes a line in one piece. It says if the text did not end normally: the client left, another text of the request
    /// failed, or the server stopped.
    pub(super) fn write(&self, receipt: &Receipt) {
        let Some(file) = &self.file else { return };
        let kept = if self.with_text {
            Kept::Whole(receipt)
        } else {
            Kept::WithoutText {
                request_id: receipt.request_id.as_deref(),
                tenant: receipt.tenant.as_deref(),
                schema_version: receipt.schema_version,
                finish_reason: receipt.finish_reason,
                watermark: &receipt.watermark,
                sampling: receipt.sampling,
                model: &receipt.model,
                timing: receipt.timing,
                prompt_token_count: receipt.prompt_tokens.len(),
                warning_codes: &receipt.warning_codes,
            }
        };
        let line = Line {
            time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            interrupted: receipt.finish_reason == Some(FinishReason::Interrupted),
            text_sha256: hex::encode(&Sha256::digest(receipt.text.as_bytes())),
            text_tokens: receipt.tokens.len(),
            receipt: kept,
        };
        let written = serde_json::to_vec(&line).map_err(std::io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            let before = file.metadata()?.len();
            // A partial line would make the next one unreadable too.
            file.write_all(&line).inspect_err(|_| drop(file.set_len(before)))
        });
        if let Err(error) = written {
            self.failed.store(true, Ordering::Relaxed);
            tracing::error!(%error, request_id = receipt.request_id, "a receipt could not be written");
        }
    }

    /// Waits until the lines are on disk. Meanwhile others can be written.
    pub(super) fn sync(&self) {
        let Some(file) = &self.file else { return };
        let file = file.lock().unwrap_or_else(PoisonError::into_inner).try_clone();
        if let Err(error) = file.and_then(|file| file.sync_data()) {
            self.failed.store(true, Ordering::Relaxed);
            tracing::error!(%error, "receipts could not be written to disk");
        }
    }
}

/// Beginning of each line.
const BEGINNING: &[u8] = b"{\"time\":";

/// Refuses a file that holds something else, so that nothing of it is cut off.
fn check_beginning(file: &mut File) -> std::io::Result<()> {
    let mut beginning = Vec::new();
    (&mut *file).take(BEGINNING.len() as u64).read_to_end(&mut beginning)?;
    if BEGINNING.starts_with(&beginning) {
        return Ok(());
    }
    Err(std::io::Error::other("expected receipts of an earlier run or a new file, found something else"))
}

/// Returns the length of a file up to the end of its last whole line.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        (&mut *file).take(end - start).read_to_end(&mut block)?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let long = "x".repeat(200_000);
        for (before, after) in [
            ("", ""),
            ("{\"time\":1}\n", "{\"time\":1}\n"),
            ("{\"time\":1}\n{\"ti", "{\"time\":1}\n"),
            ("{\"ti", ""),
            (&format!("{{\"time\":1}}\n{long}"), "{\"time\":1}\n"),
        ] {
            std::fs::write(&path, before).unwrap();
            Receipts::open(&path, false).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
        std::fs::write(&path, "a key").unwrap();
        assert!(Receipts::open(&path, false).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a key");
    }

    #[test]
    fn a_line_is_interrupted_if_its_own_text_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.jsonl");
        let receipts = Receipts::open(&path, false).unwrap();
        for reason in ["stop", "interrupted", "length"] {
            let receipt = serde_json::json!({
                "schema_version": 1, "tokens": [5], "prompt_tokens": [2], "finish_reason": reason,
                "watermark": { "key_id": null }, "model": { "name": "m", "fingerprint": null },
                "sampling": { "temperature": 1, "top_k": 0, "top_p": 1, "repeat_penalty": 1 },
            });
            receipts.write(&Receipt::parse(&receipt.to_string()).unwrap());
        }
        let written = std::fs::read_to_string(&path).unwrap();
        let lines = written.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let interrupted: Vec<bool> = lines.map(|line| line["interrupted"] == true).collect();
        assert_eq!(interrupted, [false, true, false]);
    }
}
