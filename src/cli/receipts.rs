//! Files of receipts.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use wmdetect::shell::{InputError, Label, for_each_object};
use wmdetect::text::Tokenizer;
use wmgen::respond::{Receipt, ReceiptError};
use wmgen::verify::Origin;

/// What a line of such a file must be.
const EXPECTED: &str = "expected a line of what `wmgen generate --json` prints";

/// Reads the receipts of a file, each with its name. The name is the receipt's id if no other has it, else the path, with the
/// line if there are several. A bad line has an entry with an error.
pub(super) fn read(path: &Path) -> Result<Vec<(String, Result<Receipt, String>)>> {
    let mut receipts = Vec::new();
    for_each_object(path, |label, object| {
        let id = object.as_ref().ok().and_then(|object| object.get("id"));
        let parsed = match &object {
            Ok(object) => Receipt::parse(object.as_written()).map_err(|error| match error {
                ReceiptError::Json(_) => format!("{error}; {EXPECTED}"),
                error => error.to_string(),
            }),
            Err(InputError::Json(error)) => Err(format!("not a receipt: {error}; {EXPECTED}")),
            Err(error) => Err(error.to_string()),
        };
        receipts.push((label.input.clone(), label.clone().with_id(id), parsed));
        Ok(())
    })?;
    if receipts.is_empty() {
        bail!("{} is empty; {EXPECTED}", path.display());
    }
    let alone = receipts.len() == 1;
    // The texts of one prompt have one id.
    let mut uses: HashMap<String, usize> = HashMap::new();
    for (_, label, _) in receipts.iter().filter(|(_, label, _)| label.id.is_some()) {
        *uses.entry(label.input.clone()).or_default() += 1;
    }
    let name = |line: String, label: Label| match uses.get(&label.input) {
        Some(1) => label.input,
        _ if alone => path.display().to_string(),
        _ => line,
    };
    Ok(receipts.into_iter().map(|(line, label, parsed)| (name(line, label), parsed)).collect())
}

/// Checks that a receipt is consistent.
pub(super) fn checked(receipt: Receipt, tokenizer: &Tokenizer) -> Result<Receipt, String> {
    match receipt.tokens_of_text(tokenizer) {
        Ok(_) => Ok(receipt),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns what the receipts have in common about the texts of one prompt.
pub(super) fn common(
    receipts: Vec<(String, Result<Receipt, String>)>,
    tokenizer: &Tokenizer,
) -> Result<Origin> {
    let mut first: Option<(String, Receipt, Origin)> = None;
    for (place, receipt) in receipts {
        let receipt = receipt.and_then(|receipt| checked(receipt, tokenizer));
        let receipt = receipt.map_err(|error| anyhow::anyhow!("{place}: {error}"))?;
        first = Some(match first {
            Some((first, other, _)) if !receipt.is_like(&other) => bail!(
                "{place} has another prompt, sampling, model or key than {first}, so it is open which belongs to the \
                 texts; pass a receipt of one line, or no FILE to verify the receipts' own tokens"
            ),
            Some((first, other, origin)) => (first, other, origin.or_of(receipt)),
            None => {
                let origin = Origin::of_receipt(&receipt);
                (place, receipt, origin)
            }
        });
    }
    Ok(first.map(|(_, _, origin)| origin).expect("a file of receipts has a line"))
}
