//! Turns a tokenizer.json into a pipeline that tokenizes plain text.

use tokenizers::{DecoderWrapper, ModelWrapper, PostProcessorWrapper, PreTokenizerWrapper};

use super::TextError;
use super::pieces::{Pieces, Spelling, TokenKind, byte_piece};
use super::vocabulary::Parts;

/// Names of `<eos>` in published tokenizers: tokenizer.json does not say which token ends a text.
const EOS: [&str; 4] = ["<eos>", "</s>", "<|endoftext|>", "<|end_of_text|>"];
/// Names of `<bos>`, for a tokenizer.json whose post-processor does not add it.
const BOS: [&str; 3] = ["<bos>", "<s>", "<|begin_of_text|>"];

/// Takes over what [`tokenizers`] has read.
pub(super) fn build(mut inner: tokenizers::Tokenizer) -> Result<Parts, TextError> {
    let spelling = spelling(&inner)?;
    let bos = first_special(inner.get_post_processor())
        .or_else(|| BOS.iter().find_map(|name| inner.token_to_id(name)));
    let eos = EOS.iter().find_map(|name| inner.token_to_id(name));

    let added = inner.get_added_tokens_decoder();
    let entries = inner
        .get_vocab(true)
        .into_iter()
        .map(|(text, id)| {
            let kind = match added.get(&id) {
                Some(token) if token.special => TokenKind::Control,
                Some(_) => TokenKind::UserDefined,
                None if spelling == Spelling::SentencePiece && byte_piece(&text).is_some() => TokenKind::Byte,
                None => TokenKind::Ordinary,
            };
            (id, text, kind)
        })
        .collect();
    let pieces = Pieces::new(entries, spelling)?;

    // A tokenizer.json often says how training truncated and padded its batches. A post-processor may add special
    // tokens and trim the spaces off the offsets. None of that belongs to a text.
    inner.with_truncation(None).map_err(|error| TextError::Encode { message: error.to_string() })?;
    inner.with_padding(None);
    inner.with_post_processor(None::<PostProcessorWrapper>);
    Ok(Parts { inner, pieces, bos, eos })
}

/// Returns how the vocabulary spells bytes, from the parts of the pipeline that turn it into text.
fn spelling(inner: &tokenizers::Tokenizer) -> Result<Spelling, TextError> {
    let unsupported = |found: String| TextError::Unsupported {
        expected: "BPE or Unigram with SentencePiece's ▁ or with GPT-2's byte level",
        found,
    };
    match inner.get_model() {
        ModelWrapper::BPE(_) | ModelWrapper::Unigram(_) => {}
        ModelWrapper::WordPiece(_) => return Err(unsupported("WordPiece".to_owned())),
        ModelWrapper::WordLevel(_) => return Err(unsupported("WordLevel".to_owned())),
    }
    let decoder = inner.get_decoder().map(parts_of_decoder).unwrap_or_default();
    if decoder.contains("\"ByteLevel\"") {
        Ok(Spelling::ByteLevel)
    } else if decoder.contains('▁')
        || matches!(inner.get_pre_tokenizer(), Some(PreTokenizerWrapper::Metaspace(_)))
    {
        Ok(Spelling::SentencePiece)
    } else {
        Err(unsupported(if decoder.is_empty() {
            "no decoder".to_owned()
        } else {
            format!("the decoder {decoder}")
        }))
    }
}

/// Returns the decoder as JSON, since a sequence does not show its members otherwise.
fn parts_of_decoder(decoder: &DecoderWrapper) -> String {
    serde_json::to_string(decoder).unwrap_or_default()
}

/// Returns the special token that the post-processor puts in front of a text.
fn first_special(processor: Option<&PostProcessorWrapper>) -> Option<u32> {
    let json = serde_json::to_value(processor?).ok()?;
    let template = match json["type"].as_str()? {
        "Sequence" => {
            json["processors"].as_array()?.iter().find(|part| part["type"] == "TemplateProcessing")?
        }
        "TemplateProcessing" => &json,
        _ => return None,
    };
    let name = template["single"][0]["SpecialToken"]["id"].as_str()?;
    template["special_tokens"][name]["ids"][0].as_u64().and_then(|id| u32::try_from(id).ok())
}
