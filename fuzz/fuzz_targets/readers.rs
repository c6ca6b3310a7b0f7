//! Whatever bytes they get, the readers of GGUF models, configurations, receipts, tasks and judges' answers give a value or an
//! error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wmgen::compare::Verdict;
use wmgen::eval::Task;
use wmgen::model::{Config, Weights};
use wmgen::respond::Receipt;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(weights) = Weights::from_gguf_bytes(bytes.to_vec(), "input") {
        for (name, info) in weights.tensors() {
            let of_tensor = weights.bytes(name).expect("a tensor that was listed");
            assert_eq!(of_tensor.len(), info.len);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Config::from_json(text);
        let _ = Receipt::parse(text);
        let _ = Task::parse(text);
        let _ = Verdict::parse(text);
    }
});
