//! What can be wrong with a key or a key file.

use super::{
    DEFAULT_CHANNELS, DEFAULT_DEPTH, DEFAULT_NGRAM_LEN, MAX_CHANNELS, MAX_DEPTH, MAX_NGRAM_LEN,
    MAX_V2_CONTEXT,
};
use crate::counted::counted;

/// What can be wrong with a key or a key file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Depth 0 would mark nothing, more than 64 does not fit.
    #[error("a key needs a depth from 1 to {MAX_DEPTH}, found {found}; the usual depth is {DEFAULT_DEPTH}")]
    Depth {
        /// What was asked for.
        found: usize,
    },
    /// An n-gram of one token has no context.
    #[error(
        "a key needs an ngram_len from 2 to {MAX_NGRAM_LEN} (with 1 there is no context and every position would use \
         the same g-values), found {found}; the usual length is {DEFAULT_NGRAM_LEN}"
    )]
    NgramLen {
        /// What was asked for.
        found: usize,
    },
    /// A context of a key with the shortest unused context has 1 to [`MAX_V2_CONTEXT`] tokens.
    #[error(
        "a key needs contexts from 1 to {MAX_V2_CONTEXT} tokens, the shortest not above the longest, found {shortest} \
         to {longest}; the usual contexts are from 1 to {MAX_V2_CONTEXT}"
    )]
    ContextLens {
        /// Tokens of the shortest.
        shortest: u8,
        /// Tokens of the longest.
        longest: u8,
    },
    /// A key without channels would mark nothing, and a detector has to try all channels.
    #[error(
        "a key needs 1 to {MAX_CHANNELS} channels, found {found}; the usual number is {DEFAULT_CHANNELS}"
    )]
    Channels {
        /// What was asked for.
        found: usize,
    },
    /// `synthid-sha256-v2` has short contexts.
    #[error(
        "a key of {scheme} needs an ngram_len from 2 to {most}, found {found}; synthid-sha256 takes up to \
         {MAX_NGRAM_LEN}",
        most = MAX_V2_CONTEXT + 1
    )]
    LongNgram {
        /// The scheme.
        scheme: &'static str,
        /// What was asked for.
        found: usize,
    },
    /// Only `synthid-sha256-v2` has channels.
    #[error(
        "{scheme} has no channels, found {found} asked for; expected none, or a key of synthid-sha256-v2"
    )]
    NoChannels {
        /// The scheme.
        scheme: &'static str,
        /// What was asked for.
        found: usize,
    },
    /// The reference's history cannot be empty or absurd.
    #[error("context_history_size must be from 1 to 16777216, found {found}; the usual size is 1024")]
    ContextHistorySize {
        /// What was asked for.
        found: u32,
    },
    /// The reference takes up to 2^24 entries.
    #[error("a sampling table has 2 to 16777216 entries, found {found}; the usual size is 65536")]
    TableSize {
        /// What was asked for.
        found: usize,
    },
    /// Tables hold bits.
    #[error("a sampling table holds only 0 and 1, found {found}")]
    TableEntry {
        /// The offending entry.
        found: u8,
    },
    /// Secret of the wrong length.
    #[error("{scheme} needs a secret of {expected} bytes, found {found}")]
    SecretLength {
        /// The scheme.
        scheme: &'static str,
        /// Bytes needed.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// Equal layer keys make equal layers, so the evidence would be counted twice and false alarms would follow.
    #[error(
        "two of the layer keys are equal, so their layers would be the same; use a different key for each layer"
    )]
    DuplicateLayerKeys,
    /// Schemes that follow another library derive no keys, since that library does not.
    #[error(
        "keys cannot be derived from a key of {scheme}; expected a master of synthid-sha256 or synthid-sha256-v2"
    )]
    NotDerivable {
        /// The scheme.
        scheme: &'static str,
    },
    /// The operating system gave no randomness.
    #[error("the operating system's random generator failed: {0}")]
    Randomness(String),
    /// Reading failed.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Writing failed.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A directory in a key file's place.
    #[error("{path}: expected a key file, found a directory")]
    Directory {
        /// The directory.
        path: String,
    },
    /// A label that names nothing, or that a key file has no room for.
    #[error("a label has 1 to 65535 bytes, found {found}")]
    Label {
        /// Its length in bytes.
        found: usize,
    },
    /// There is no such key file.
    #[error("{path}: there is no such key file")]
    Missing {
        /// The file.
        path: String,
    },
    /// Overwriting a key loses it.
    #[error("{path}: the file exists, and overwriting a key loses it for good; expected a new name")]
    Exists {
        /// The file.
        path: String,
    },
    /// Neither container nor raw key.
    #[error(
        "{path}: not a key file: expected a key container or exactly 32 raw bytes, found {} without \
         the mark of a container in front",
        counted(.found.to_owned() as u64, "byte")
    )]
    NotAKey {
        /// The file.
        path: String,
        /// Its length in bytes.
        found: usize,
    },
    /// 32 bytes in a keyring, under a name that does not say that they are a key.
    #[error(
        "{path}: not known to be a key: expected a key container, or a raw key whose name ends in .bin or .key, found \
         32 bytes under another name"
    )]
    RawInKeyring {
        /// The file.
        path: String,
    },
    /// Longer than any key file.
    #[error("{path}: not a key file: expected at most {limit} bytes, found more")]
    TooLarge {
        /// The file.
        path: String,
        /// The length of the longest key file.
        limit: u64,
    },
    /// The container ends early.
    #[error("{path}: the key file is cut short ({found} bytes, {expected} expected); restore it from a copy")]
    Truncated {
        /// The file.
        path: String,
        /// Bytes that its header promises.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The checksum does not fit.
    #[error("{path}: the key file is damaged ({what}); restore it from a copy")]
    Corrupted {
        /// The file.
        path: String,
        /// What does not fit.
        what: &'static str,
    },
    /// Made by a newer program.
    #[error(
        "{path}: key format {found} is newer than this program, which reads format {supported}; use a newer release"
    )]
    FutureVersion {
        /// The file.
        path: String,
        /// Version in the file.
        found: u16,
        /// Version that we read.
        supported: u16,
    },
    /// The reference libraries' JSON does not parse.
    #[error("{path}: not a SynthID configuration: {why}; expected a JSON object with `keys` and `ngram_len`")]
    Json {
        /// The file.
        path: String,
        /// What the parser says (positions and field names, never values).
        why: String,
    },
    /// The configuration of an engine does not parse.
    #[error("{path}: not a configuration of {scheme}: expected a JSON object{fields}, found {found}")]
    EngineJson {
        /// The file.
        path: String,
        /// The scheme.
        scheme: &'static str,
        /// The fields that it must have, if there are any: ` with …`.
        fields: String,
        /// What was found: names and positions of fields, and values only of fields that are not keys.
        found: String,
    },
    /// A parameter of an engine's mark that does not work.
    #[error("{scheme} needs {field} {expected}, found {found}")]
    Parameter {
        /// The scheme.
        scheme: &'static str,
        /// The parameter.
        field: &'static str,
        /// Which values work.
        expected: String,
        /// The value.
        found: String,
    },
    /// A key of another engine's mark where the key of a tournament is needed.
    #[error(
        "expected the key of a tournament (a scheme whose name begins with synthid), found one of {scheme}, which is another \
         engine's mark: wmdetect reads it, and that engine writes it"
    )]
    NotATournament {
        /// The scheme.
        scheme: &'static str,
    },
    /// Only schemes that follow another library have its JSON form.
    #[error(
        "{scheme}: no other library has a JSON form for keys of such a scheme; expected one of the schemes of other \
         libraries, such as synthid-hf or vllm-gumbel"
    )]
    NoJson {
        /// The scheme's name.
        scheme: String,
    },
    /// A key for another tokenizer.
    #[error(
        "key {key_id} is meant for the tokenizer {expected} but was used with {found}; their token ids differ, so the \
         mark could not be found: pass the tokenizer that belongs to the key, or another key"
    )]
    WrongTokenizer {
        /// The key's public id.
        key_id: String,
        /// Name and fingerprint that the key asks for.
        expected: String,
        /// Name and fingerprint that were given.
        found: String,
    },
    /// A tokenizer with the key's vocabulary that cuts texts in another way.
    #[error(
        "key {key_id} is meant for the tokenizer {tokenizer}, and the one in use has that vocabulary and cuts texts in \
         another way: its merges, scores, normaliser, pre-tokenizer or added tokens are not the same (expected the \
         rules {expected}, found {found}), so the mark could not be found; use the tokenizer that the key was bound to"
    )]
    OtherRules {
        /// The key's public id.
        key_id: String,
        /// Name and fingerprint of the vocabulary.
        tokenizer: String,
        /// Start of the digest that the key has.
        expected: String,
        /// Start of the digest of the tokenizer in use.
        found: String,
    },
}
