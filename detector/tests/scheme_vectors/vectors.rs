//! Makes the content of `scheme-vectors.json`, the test vectors of `docs/concepts/scheme.md`.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wmdetect::scheme::{
    Distribution, GBits, Key, PositionKind, SamplingTable, Scheme, Secret, TextGValues, TokenizerBinding,
    Watermark, synthid,
};
use zeroize::Zeroizing;

/// Ids at which an implementation with too few bits goes wrong.
const EDGES: [u32; 7] = [0, 65_535, 65_536, 255_999, 1, 131_072, 131_071];
/// Vectors of each key.
const VECTORS: u32 = 4;

/// Returns the whole file.
pub(crate) fn vectors() -> String {
    let about = [
        "Test vectors of docs/concepts/scheme.md. All keys are throw-away keys, made by the rules below; never use them.",
        "Secret of a synthid-sha256 or synthid-sha256-v2 key: SHA-256 of the ASCII text 'vector key NAME'. Layer key l of a compat key: the \
         first 8 bytes of SHA-256 of 'vector key NAME, layer l' as a little-endian number without its top bit.",
        "secret: hexadecimal, the secret of the key file (for compat keys the layer keys, 8 little-endian bytes each); \
         layer_keys: the same as decimal strings, because many JSON readers lose digits beyond 2^53.",
        "vectors: [context, token, g], context oldest token first, g layer 0 first; for synthid-sha256-v2 [context, token, g, \
         channel]. derived: keys derived with a label.",
        "masks: marked: which response positions the generator marks ('1') when it answers prompt; scored, reference: \
         the detector's masks for tokens, one digit a position from ngram_len - 1 on (scored knows the prompt, except for \
         synthid-sha256-v2, where it plays no part).",
        "masks of synthid-sha256-v2: context_lens: with how many tokens of context the generator marks each position from \
         0 on, 0 where it does not; scored begins at position shortest_context.",
        "tournaments: p becomes q; all numbers are exact in binary. containers: key files in hexadecimal.",
    ];
    let mut out = String::from("{\n");
    out += &section("about", about.iter().map(|line| json!(line)));
    out += &section("keys", keys().iter().map(|(name, key)| key_vectors(name, key)));
    out += &section("masks", masks());
    out += &section("tournaments", tournaments());
    out += section("containers", containers()).trim_end_matches(",\n");
    out + "\n}\n"
}

/// A list with one row a line: short enough to read, and a change shows as the line that it is.
fn section(name: &str, rows: impl IntoIterator<Item = Value>) -> String {
    let rows: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    format!("\"{name}\": [\n{}\n],\n", rows.join(",\n"))
}

fn keys() -> Vec<(String, Key)> {
    let mut keys = Vec::new();
    // A message has 32 + 4 · ngram_len bytes: one block of SHA-256 up to ngram_len 5, two from 6 on, 64 bytes sharp
    // at 8, three blocks from 22 on.
    for (depth, ngram_len) in [
        (1, 2),
        (2, 3),
        (7, 4),
        (30, 5),
        (64, 5),
        (31, 6),
        (32, 7),
        (33, 8),
        (63, 9),
        (64, 20),
        (30, 21),
        (30, 22),
        (30, 64),
    ] {
        let name = format!("sha256-{depth}-{ngram_len}");
        let secret = Zeroizing::new(Sha256::digest(format!("vector key {name}")).to_vec());
        keys.push((
            name,
            Key::new(Scheme::Sha256(synthid::Sha256 { depth, ngram_len }), Secret::new(secret))
                .expect("a key that works"),
        ));
    }
    for (depth, shortest_context, longest_context, channels) in
        [(1, 1, 1, 1), (30, 1, 4, 1), (30, 1, 4, 16), (30, 2, 4, 4), (64, 1, 4, 1024), (17, 2, 3, 300)]
    {
        let name = format!("sha256-v2-{depth}-{shortest_context}-{longest_context}-{channels}");
        let secret = Zeroizing::new(Sha256::digest(format!("vector key {name}")).to_vec());
        let scheme = synthid::Sha256V2 { depth, shortest_context, longest_context, channels };
        keys.push((name, Key::new(scheme, Secret::new(secret)).expect("a key that works")));
    }
    for (depth, ngram_len, size, seed) in [
        (1, 2, 1_000, 7),
        (2, 3, 65_536, 0),
        (7, 4, 65_537, (1 << 40) + 5),
        (30, 5, 65_536, 0),
        (31, 6, 65_536, (1 << 32) - 1),
        (63, 8, 2, 1),
        (64, 20, 65_536, 42),
    ] {
        let table = SamplingTable::Seeded { size, seed };
        keys.push(compat(
            "hf",
            Scheme::Hf(synthid::Hf { depth, ngram_len, context_history_size: 1024, table }),
        ));
    }
    let table = SamplingTable::Explicit(vec![1, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1]);
    keys.push(compat(
        "hf-explicit",
        Scheme::Hf(synthid::Hf { depth: 30, ngram_len: 5, context_history_size: 1024, table }),
    ));
    for (depth, ngram_len) in [(1, 2), (2, 3), (7, 4), (30, 5), (31, 6), (63, 8), (64, 20)] {
        keys.push(compat(
            "deepmind",
            Scheme::DeepMind(synthid::DeepMind { depth, ngram_len, context_history_size: 1024 }),
        ));
    }
    keys
}

fn compat(prefix: &str, scheme: Scheme) -> (String, Key) {
    let name = format!("{prefix}-{}-{}", scheme.depth(), scheme.ngram_len());
    let mut secret = Zeroizing::new(Vec::new());
    for layer in 0..scheme.depth() {
        let digest = Sha256::digest(format!("vector key {name}, layer {layer}"));
        secret.extend_from_slice(&digest[..7]);
        secret.push(digest[7] & 0x7f);
    }
    let key = Key::new(scheme, Secret::new(secret)).expect("a key that works");
    (name, key)
}

fn key_vectors(name: &str, key: &Key) -> Value {
    let scheme = key.scheme();
    let secret = secret(key);
    let mut row = json!({
        "name": name,
        "scheme": scheme.name(),
        "depth": scheme.depth(),
        "ngram_len": scheme.ngram_len(),
        "secret": hex(&secret),
        "key_id": key.id(),
    });
    if scheme.secret_shape().distinct_layer_keys {
        let (layers, _) = secret.as_chunks::<8>();
        row["layer_keys"] = layers.iter().map(|bytes| i64::from_le_bytes(*bytes).to_string()).collect();
    } else {
        let derived = ["acme", "Acme", "2026-11/ジェマ"].map(|label| {
            let child = key.derive(label).expect("our own scheme derives");
            json!({"label": label, "secret": hex(&self::secret(&child)), "key_id": child.id()})
        });
        row["derived"] = json!(derived);
    }
    if let Scheme::Hf(synthid::Hf { table, .. }) = scheme {
        match table {
            SamplingTable::Seeded { size, seed } => {
                row["sampling_table_size"] = json!(size);
                row["sampling_table_seed"] = json!(seed);
            }
            SamplingTable::Explicit(entries) => row["sampling_table"] = json!(entries),
        }
    }
    let prf = key.prf();
    if let Scheme::Sha256V2(parameters) = scheme {
        row["shortest_context"] = json!(parameters.shortest_context);
        row["longest_context"] = json!(parameters.longest_context);
        row["channels"] = json!(parameters.channels);
        let lens = parameters.shortest_context.into()..=u32::from(parameters.longest_context);
        let vectors = lens.flat_map(|len| (0..VECTORS).map(move |v| (len, v))).map(|(len, v)| {
            let ids: Vec<u32> = (0..len).map(|i| id(name, v, i)).collect();
            let token = EDGES[(len + v) as usize % EDGES.len()];
            // The first channels and the last.
            let channel =
                if v % 2 == 0 { parameters.channels - 1 } else { (v as u16 / 2) % parameters.channels };
            let g = prf.in_channel(channel).context(&ids).g_bits(token);
            json!([ids, token, g.to_string(scheme.depth()), channel])
        });
        row["vectors"] = vectors.collect();
        return row;
    }
    let vectors: Vec<Value> = (0..VECTORS)
        .map(|v| {
            let ids: Vec<u32> = (0..scheme.context_len() as u32).map(|i| id(name, v, i)).collect();
            let edge = EDGES[(scheme.depth() + v as usize / 2) % EDGES.len()];
            let token = if v.is_multiple_of(2) { edge } else { id(name, v, u32::MAX) };
            json!([ids, token, prf.context(&ids).g_bits(token).to_string(scheme.depth())])
        })
        .collect();
    row["vectors"] = json!(vectors);
    row
}

/// The i-th context id of a vector: an edge in every other vector, anything else in the others.
fn id(name: &str, vector: u32, i: u32) -> u32 {
    let digest = Sha256::digest(format!("vector id {name}, {vector}, {i}"));
    let random = u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]);
    if vector.is_multiple_of(2) { EDGES[random as usize % EDGES.len()] } else { random % 256_000 }
}

/// The secret as the container has it: after header, parameters and its length.
fn secret(key: &Key) -> Zeroizing<Vec<u8>> {
    let parameters = match key.scheme() {
        Scheme::Hf(synthid::Hf { table: SamplingTable::Explicit(entries), .. }) => {
            3 + 4 + 1 + 4 + entries.len()
        }
        Scheme::Hf(_) => 3 + 4 + 1 + 4 + 8,
        Scheme::DeepMind(_) => 3 + 4,
        Scheme::Sha256V2(_) => 1 + 5,
        _ => 3,
    };
    let len = key.scheme().secret_shape().len;
    let start = 14 + parameters + 2;
    Zeroizing::new(key.to_bytes()[start..start + len].to_vec())
}

fn v2(shortest_context: u8, longest_context: u8) -> Scheme {
    synthid::Sha256V2 { depth: 4, shortest_context, longest_context, channels: 2 }.into()
}

fn masks() -> Vec<Value> {
    let table = || SamplingTable::Seeded { size: 65_536, seed: 0 };
    let schemes = [
        Scheme::Sha256(synthid::Sha256 { depth: 4, ngram_len: 3 }),
        Scheme::Sha256(synthid::Sha256 { depth: 4, ngram_len: 6 }),
        v2(1, 4),
        v2(2, 3),
        v2(2, 2),
        Scheme::Hf(synthid::Hf { depth: 4, ngram_len: 3, context_history_size: 4, table: table() }),
        Scheme::DeepMind(synthid::DeepMind { depth: 4, ngram_len: 3, context_history_size: 4 }),
    ];
    let texts: [(&[u32], &[u32]); 5] = [
        (&[], &[1, 2, 3, 1, 2, 3, 1, 2, 4, 2, 3, 5]),
        (&[5, 1, 2], &[1, 2, 9, 2, 1, 7, 1, 2, 9]),
        (&[7, 7, 7], &[7, 7, 7, 7, 8, 7, 7, 7]),
        (&[], &[0, 0, 0, 65_536, 0, 0, 131_072, 0, 0, 1, 0]),
        (&[9, 8, 7, 6, 5, 4], &[9, 8, 7, 6, 5, 4, 9, 8, 7, 6, 5, 4, 3, 9, 8, 7, 6, 5, 4]),
    ];
    let mut rows = Vec::new();
    for scheme in schemes {
        let name = scheme.name();
        let secret = if scheme.secret_shape().distinct_layer_keys {
            [11i64, 22, 33, 44].iter().flat_map(|key| key.to_le_bytes()).collect()
        } else {
            vec![5; 32]
        };
        let prf = Key::new(scheme, Secret::new(Zeroizing::new(secret))).expect("a key that works").prf();
        for (prompt, tokens) in texts {
            let mut marking = Watermark::new(prf.clone()).start(prompt, 0);
            let marked = tokens.iter().map(|&token| {
                let mut candidates = Distribution::from_probabilities(vec![token], vec![1.0])
                    .expect("one candidate is a distribution");
                let kind = marking.apply(&mut candidates);
                marking.push(token);
                kind == PositionKind::Marked
            });
            let marked = flags(marked);
            let mut tracker = prf.marked_positions(prompt);
            let context_lens: String = tokens
                .iter()
                .map(|&token| {
                    let len = tracker.context().len();
                    if tracker.advance(token) == PositionKind::Marked { len.to_string() } else { "0".into() }
                })
                .collect();
            let text = TextGValues::new(&prf, prompt, tokens);
            let mut row = json!({
                "scheme": name, "ngram_len": prf.scheme().ngram_len(), "prompt": prompt, "tokens": tokens,
                "marked": marked, "scored": flags(text.scored.iter().copied()),
            });
            if let Scheme::Sha256V2(parameters) = prf.scheme() {
                row["shortest_context"] = json!(parameters.shortest_context);
                row["longest_context"] = json!(parameters.longest_context);
                row["context_lens"] = json!(context_lens);
                row["shares"] =
                    json!(text.shares.iter().map(|share| share.thirds().to_string()).collect::<String>());
            }
            if prf.scheme().secret_shape().distinct_layer_keys {
                row["context_history_size"] = json!(4);
                row["layer_keys"] = json!(["11", "22", "33", "44"]);
                row["reference"] = json!(flags(text.reference_mask.iter().copied()));
            }
            rows.push(row);
        }
    }
    rows
}

fn tournaments() -> Vec<Value> {
    let p = [0.5, 0.25, 0.125, 0.125];
    let cases: [(u32, &[&str]); 6] = [
        (2, &["1", "0", "1", "0"]),
        (2, &["01", "10", "11", "00"]),
        (2, &["010", "100", "110", "001"]),
        (2, &["00", "00", "00", "00"]),
        (3, &["1", "0", "1", "0"]),
        (3, &["01", "10", "11", "00"]),
    ];
    cases
        .iter()
        .map(|&(leaves, g)| {
            let mut q =
                Distribution::from_probabilities(vec![0, 1, 2, 3], p.to_vec()).expect("a distribution");
            let parsed: Vec<GBits> = g
                .iter()
                .map(|bits| GBits(bits.bytes().rev().fold(0, |word, bit| word << 1 | u64::from(bit == b'1'))))
                .collect();
            q.tournament(&parsed, g[0].len(), leaves);
            json!({"leaves": leaves, "p": p, "g": g, "q": q.probabilities()})
        })
        .collect()
}

fn containers() -> Vec<Value> {
    let names = ["sha256-30-5", "sha256-v2-30-1-4-16", "hf-2-3", "hf-explicit-30-5", "deepmind-2-3"];
    let mut rows: Vec<Value> = keys()
        .iter()
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(name, key)| json!({"name": name, "file": hex(&key.to_bytes())}))
        .collect();
    let (name, key) = keys().swap_remove(0);
    let binding = TokenizerBinding { name: "gemma-2".into(), fingerprint: [0xa5; 32], rules: None };
    let key = key.with_tokenizer(Some(binding));
    rows.push(json!({
        "name": name, "tokenizer": "gemma-2", "fingerprint": hex(&[0xa5; 32]), "file": hex(&key.to_bytes()),
    }));
    rows
}

fn flags(mask: impl IntoIterator<Item = bool>) -> String {
    mask.into_iter().map(|flag| if flag { '1' } else { '0' }).collect()
}

fn hex(bytes: &[u8]) -> String {
    wmdetect::hex::encode(bytes)
}
