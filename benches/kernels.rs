//! Products of one, of eight and of a prompt's rows of activations with a stored matrix of Gemma 2 2B's feed-forward layer, on
//! one thread: our kernels of each instruction set beside candle's on the same rows.
//!
//! `RAYON_NUM_THREADS=1 cargo bench --bench kernels`

#![allow(missing_docs)] // criterion's macros

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wmgen::internals::{Bytes, MatMul, Matrix};
use wmgen::model::Format;

const ROWS: usize = 9216;
const COLS: usize = 2304;

/// Blocks of any bits but for their f16 scales, which are finite. Floats are moderate numbers.
fn matrix(format: Format) -> Matrix {
    let block = format.block_bytes();
    let len = ROWS * COLS / format.block_len() * block;
    let mut bytes: Vec<u8> =
        (0..len).map(|i| ((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect();
    let halves: &[usize] = match format {
        Format::Q4K => &[0, 2],
        Format::Q6K => &[208],
        Format::F16 | Format::BF16 => &[],
        _ => &[0],
    };
    let floats = matches!(format, Format::F16 | Format::BF16);
    for block in bytes.chunks_exact_mut(block) {
        if floats {
            // An exponent near that of 1 in either format.
            block[1] = block[1] & 0x83 | 0x3C;
        }
        for &at in halves {
            // 0x1C is 2^-8 as the upper byte of a half float.
            block[at..at + 2].copy_from_slice(&[0, 0x1C]);
        }
    }
    let bytes = Bytes::new(Arc::new(bytes), 0..len).expect("all of them");
    Matrix::new(bytes, format, ROWS, COLS).expect("a matrix")
}

fn products(c: &mut Criterion) {
    for format in
        [Format::Q4_0, Format::Q5_0, Format::Q4K, Format::Q6K, Format::Q8_0, Format::F16, Format::BF16]
    {
        let stored = matrix(format);
        for rows in [1, 8, 256] {
            let mut group = c.benchmark_group(format!("{} x {rows}", format.name()));
            group.throughput(Throughput::Bytes(stored.bytes().len() as u64)).sample_size(20);
            let xs: Vec<f32> = (0..rows * COLS).map(|i| (i as f32 * 0.37).sin()).collect();
            let mut out = vec![0f32; rows * ROWS];
            let candle = MatMul { matrix: stored.clone(), unrounded: false };
            group.bench_function(BenchmarkId::from_parameter("candle"), |b| {
                b.iter(|| candle.run(&xs, if rows > 8 { rows } else { 1 }, &mut out));
            });
            #[cfg(target_arch = "x86_64")]
            if let Some(panels) = stored.in_panels(|_| ()).as_ref().and_then(Matrix::panels) {
                use wmgen::internals::{Activations, LANES, Level, QuantisedRows, Sums, multiply};
                let mut floats = xs;
                let xs = QuantisedRows::new(&floats, COLS);
                let mut out = vec![[0f32; LANES]; rows * ROWS / LANES];
                for level in [Level::Vnni, Level::Avx2].into_iter().filter(|level| level.is_available()) {
                    group.bench_function(BenchmarkId::from_parameter(format!("{level:?}")), |b| {
                        b.iter(|| multiply(level, panels, 0..ROWS / LANES, &xs, &mut out));
                    });
                }
                if rows > 8 {
                    let (mut activations, mut sums) = (Activations::new(), Sums::default());
                    activations.fill(rows, COLS, &mut floats, |_, floats, numbers| {
                        numbers.copy_from_slice(floats);
                    });
                    group.bench_function(BenchmarkId::from_parameter("many rows"), |b| {
                        b.iter(|| sums.product(&[&**panels], &activations));
                    });
                }
            }
        }
    }
}

criterion_group!(benches, products);
criterion_main!(benches);
