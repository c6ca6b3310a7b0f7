use super::*;
use crate::gguf::{Layout, Plan};

/// Writes a header and its entries; `raw` writes bytes that do not fit the format.
struct Writer {
    count: u64,
    entries: Vec<u8>,
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn array(element: u32, count: u64, items: &[u8]) -> Vec<u8> {
    [&element.to_le_bytes()[..], &count.to_le_bytes(), items].concat()
}

impl Writer {
    fn new() -> Self {
        Self { count: 0, entries: Vec::new() }
    }

    fn raw(mut self, key: &str, value_type: u32, value: &[u8]) -> Self {
        self.count += 1;
        self.entries.extend(string(key));
        self.entries.extend(value_type.to_le_bytes());
        self.entries.extend(value);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let version = 3_u32.to_le_bytes();
        [&b"GGUF"[..], &version, &7_u64.to_le_bytes(), &self.count.to_le_bytes(), &self.entries].concat()
    }

    fn read(&self) -> Result<Metadata, GgufError> {
        read(&self.bytes())
    }
}

fn read(bytes: &[u8]) -> Result<Metadata, GgufError> {
    Metadata::read(bytes, bytes.len() as u64, |key| !key.starts_with("skip"))
}

fn sample() -> Writer {
    let strings = array(8, 2, &[string("a"), string("é")].concat());
    let floats = array(6, 2, &[1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat());
    let nested = array(9, 1, &array(9, 1, &array(8, 1, &string("x"))));
    Writer::new()
        .raw("u8", 0, &[200])
        .raw("i32", 5, &(-5_i32).to_le_bytes())
        .raw("skip.strings", 9, &strings)
        .raw("skip.floats", 9, &floats)
        .raw("skip.nested", 9, &nested)
        .raw("skip.string", 8, &string("\u{FEFF}"))
        .raw("skip.f64", 12, &[0; 8])
        .raw("strings", 9, &strings)
        .raw("floats", 9, &floats)
        .raw("ints", 9, &array(5, 2, &[1_i32.to_le_bytes(), (-1_i32).to_le_bytes()].concat()))
        .raw("nested", 9, &nested)
        .raw("bool", 7, &[1])
        .raw("id", 4, &7_u32.to_le_bytes())
        .raw("text", 8, &string("text"))
}

#[test]
fn reads_every_kind_and_skips_the_rest() {
    let meta = sample().read().unwrap();
    assert_eq!(meta.get("u8"), Some(&Value::U8(200)));
    assert_eq!(meta.get("i32"), Some(&Value::I32(-5)));
    assert_eq!(meta.strings("strings").unwrap().unwrap(), ["a", "é"]);
    assert_eq!(meta.floats("floats").unwrap().unwrap(), [1.5, -2.0]);
    assert_eq!(meta.integers("ints").unwrap().unwrap(), [1, -1]);
    let inner = Array::Array(vec![Array::String(vec!["x".to_owned()])]);
    assert_eq!(meta.get("nested"), Some(&Value::Array(Array::Array(vec![inner]))));
    assert_eq!(meta.bool("bool").unwrap(), Some(true));
    assert_eq!(meta.id("id").unwrap(), Some(7));
    assert_eq!(meta.string("text").unwrap(), Some("text"));
    assert_eq!(meta.string("none").unwrap(), None);
    assert!(meta.get("skip.strings").is_none());
}

#[test]
fn version_2_is_the_same_layout() {
    let mut bytes = sample().bytes();
    bytes[4] = 2;
    assert_eq!(read(&bytes).unwrap().id("id").unwrap(), Some(7));
}

#[test]
fn another_file_is_named() {
    assert!(matches!(read(b"PK\x03\x04rest"), Err(GgufError::Magic { found: [b'P', b'K', 3, 4] })));
    let mut bytes = sample().bytes();
    bytes[4] = 1;
    assert!(matches!(read(&bytes), Err(GgufError::Version { found: 1 })));
    bytes[4..8].copy_from_slice(&3_u32.to_be_bytes());
    assert!(matches!(read(&bytes), Err(GgufError::BigEndian)));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = sample().bytes();
    for len in 0..bytes.len() {
        assert!(matches!(read(&bytes[..len]), Err(GgufError::Truncated { .. })), "{len} of {}", bytes.len());
    }
    // The file is shorter than its length said, as when it is replaced while being read.
    let result = Metadata::read(&bytes[..bytes.len() - 3], bytes.len() as u64, |_| true);
    assert!(matches!(result, Err(GgufError::Io(_))));
}

#[test]
fn counts_are_compared_with_the_file() {
    for count in [u64::MAX, u64::MAX / 8 + 1, 1 << 40, 1000] {
        for element in [0, 4, 6, 8, 9, 12] {
            for key in ["keep", "skip"] {
                let file = Writer::new().raw(key, 9, &array(element, count, &[0; 16]));
                assert!(matches!(file.read(), Err(GgufError::Truncated { .. })), "{key} {element} {count}");
            }
        }
        let file = Writer::new().raw("keep", 8, &count.to_le_bytes());
        assert!(matches!(file.read(), Err(GgufError::Truncated { .. })));
        let mut bytes = sample().bytes();
        bytes[16..24].copy_from_slice(&count.to_le_bytes());
        assert!(matches!(read(&bytes), Err(GgufError::Truncated { .. })));
    }
}

#[test]
fn damaged_values_are_named() {
    for key in ["keep", "skip"] {
        let file = Writer::new().raw(key, 13, &[0; 8]);
        assert!(matches!(file.read(), Err(GgufError::ValueType { found: 13, .. })));
        let file = Writer::new().raw(key, 9, &array(99, 0, &[0; 8]));
        assert!(matches!(file.read(), Err(GgufError::ValueType { found: 99, .. })));
        let deep = (0..8).fold(array(0, 0, &[]), |inner, _| array(9, 1, &inner));
        assert!(matches!(Writer::new().raw(key, 9, &deep).read(), Err(GgufError::Depth { .. })));
    }
    let latin1 = [&3_u64.to_le_bytes()[..], b"caf\xE9"].concat();
    assert!(Writer::new().raw("keep", 8, &latin1).read().is_ok(), "the count decides");
    let latin1 = [&4_u64.to_le_bytes()[..], b"caf\xE9"].concat();
    assert!(matches!(Writer::new().raw("keep", 8, &latin1).read(), Err(GgufError::Utf8 { .. })));
    assert!(matches!(Writer::new().raw("keep", 7, &[2]).read(), Err(GgufError::Bool { found: 2, .. })));
    for key in ["keep", "skip"] {
        let twice = Writer::new().raw(key, 0, &[0]).raw(key, 0, &[0]);
        assert!(matches!(twice.read(), Err(GgufError::Duplicate { .. })), "{key}");
    }
}

#[test]
fn wrong_types_name_both() {
    let meta = sample().read().unwrap();
    let message = meta.string("floats").unwrap_err().to_string();
    assert!(message.contains("expected floats to be a string, found an array of floats"), "{message}");
    for wrong in [
        meta.bool("u8").is_err(),
        meta.id("i32").is_err(),
        meta.id("text").is_err(),
        meta.strings("floats").is_err(),
        meta.floats("ints").is_err(),
        meta.integers("nested").is_err(),
    ] {
        assert!(wrong);
    }
}

/// Returns a file of one key and two tensors of four f32 each.
fn with_tensors(alignment: u32) -> Vec<u8> {
    let plan = |name: &str| Plan { name: name.into(), shape: vec![2, 2], ggml_type: 0, bytes: 16 };
    let metadata = [("general.alignment".to_owned(), Value::U32(alignment))];
    let layout = Layout::new(&metadata, vec![plan("first"), plan("other")]);
    let mut writer = layout.start(Vec::new()).unwrap();
    writer.write(&[1; 16]).unwrap();
    writer.write(&[2; 16]).unwrap();
    writer.finish().unwrap()
}

fn header(bytes: &[u8]) -> Result<Header, GgufError> {
    Header::read(bytes, bytes.len() as u64, |_| false)
}

/// Returns the place after a tensor's name, where its number of dimensions is.
fn behind(bytes: &[u8], name: &str) -> usize {
    bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap() + name.len()
}

#[test]
fn tensors_are_found_where_they_lie() {
    let bytes = with_tensors(32);
    let tensors = header(&bytes).unwrap().tensors;
    let found: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(found, ["first", "other"]);
    for (tensor, byte) in tensors.iter().zip([1, 2]) {
        assert_eq!((tensor.shape.as_slice(), tensor.ggml_type), ([2, 2].as_slice(), 0));
        assert_eq!(bytes[tensor.start as usize..][..16], [byte; 16]);
    }
    // The alignment counts although the key was not asked for.
    let wider = header(&with_tensors(8)).unwrap().tensors;
    assert!(wider[0].start < tensors[0].start + 32 && wider[0].start.is_multiple_of(8));
}

#[test]
fn damaged_tensors_are_named() {
    let good = with_tensors(32);
    let spoilt = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        header(&file).unwrap_err()
    };
    let (first, other) = (behind(&good, "first"), behind(&good, "other"));
    let twice = spoilt(other - 5, b"first");
    assert!(matches!(&twice, GgufError::Duplicate { name } if name == "first"), "{twice}");
    let dims = spoilt(first, &5_u32.to_le_bytes());
    assert!(matches!(&dims, GgufError::Dimensions { tensor, found: 5 } if tensor == "first"), "{dims}");
    let shape = spoilt(first + 4, &[0xFF; 16]);
    assert!(matches!(&shape, GgufError::Shape { tensor, .. } if tensor == "first"), "{shape}");
    for offset in [1, 31, u64::MAX, u64::MAX - 31] {
        let error = spoilt(other + 24, &offset.to_le_bytes());
        assert!(matches!(&error, GgufError::Offset { tensor, .. } if tensor == "other"), "{offset}: {error}");
    }
    for alignment in [0, 4, 12] {
        let error = header(&with_tensors(alignment)).unwrap_err();
        assert!(matches!(error, GgufError::Alignment { .. }), "{alignment}: {error}");
    }
    for count in [1000, u64::MAX] {
        assert!(matches!(spoilt(8, &count.to_le_bytes()), GgufError::Truncated { .. }), "{count}");
    }
}

#[test]
fn every_truncated_list_of_tensors_is_an_error() {
    let bytes = with_tensors(32);
    for len in 0..behind(&bytes, "other") + 32 {
        assert!(matches!(header(&bytes[..len]), Err(GgufError::Truncated { .. })), "{len}");
    }
}

proptest::proptest! {
    /// Flipped bytes may give an error or other values, never a panic or an allocation out of proportion.
    #[test]
    fn damage_never_panics(at in 0_usize..600, value: u8, value2: u8, at2 in 0_usize..600) {
        let mut bytes = sample().bytes();
        let len = bytes.len();
        bytes[at % len] = value;
        bytes[at2 % len] = value2;
        let _ = read(&bytes);
        let _ = header(&bytes);
    }
}
