//! Products for many rows of activations by AMX, the matrix unit of Xeons since Sapphire Rapids: one instruction multiplies
//! a tile of 16 rows of activations by one of 16 rows of weights.
//!
//! A tile of weights is eight vectors of a [panel](crate::kernels::panels) as they lie there, but with a byte for each
//! number, so a panel is unpacked once, into memory that stays in the second-level cache, and multiplied by all rows. The
//! integer sums come back through memory and are scaled as the other kernels do it, in the same order.

use super::vnni::{
    fives, floats, fmadd, fnmadd, halves, load, mul, nibbles, signed, sixes, splat, splat_byte, store,
    unsigned, zero,
};
use super::{BLOCK, Int8Rows, LANES};
use crate::kernels::Format;
use crate::kernels::panels::{Panels, Shape, VECTOR};
use std::arch::asm;
use std::arch::x86_64::{
    __cpuid_count, __m512i, _mm512_load_si512, _mm512_loadu_ps, _mm512_store_si512, _mm512_sub_epi8,
};
use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;

/// Rows of activations in a tile.
const ROWS: usize = 16;
/// Rows whose sums are scaled together: as many as there are registers for.
const TOGETHER: usize = 8;
/// Tiles of sums that one step computes: half of the registers.
const TILES: usize = 4;
/// Blocks whose sums are scaled together, two steps: a group of the format that has minima.
const RUN: usize = 2 * TILES;
/// Steps whose sums are in memory: what the unit writes can be read only when it is in the cache.
const STEPS: usize = 4;

/// Whether a product of so many rows is for the unit.
pub(super) fn takes(panels: &Panels, rows: usize) -> bool {
    /// Below this many rows unpacking a panel costs more than the unit saves.
    const FROM_ROWS: usize = 32;
    rows >= FROM_ROWS && panels.cols() > TILES * BLOCK && panels.cols().is_multiple_of(TILES * BLOCK)
}

/// Whether the processor has the unit and the system lets this process use it.
pub(super) fn is_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        /// AMX-TILE and AMX-INT8 in EDX of leaf 7 (Intel's Software Developer's Manual, CPUID).
        const AMX: u32 = 1 << 24 | 1 << 25;
        std::is_x86_feature_detected!("avx512f") && __cpuid_count(7, 0).edx & AMX == AMX && may_use_tiles()
    })
}

/// Asks Linux for the tiles, whose state it saves only for processes that did.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "a system call without a wrapper")]
fn may_use_tiles() -> bool {
    /// `ARCH_REQ_XCOMP_PERM` and `XFEATURE_XTILEDATA` of arch/x86/include.
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and reads and writes no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// A panel with a signed byte for each number.
#[derive(Default)]
struct Unpacked {
    /// A quad each.
    numbers: Vec<Line>,
    /// Of the weights, for each block.
    scales: Vec<[f32; LANES]>,
    /// Of `q4_k`: what is subtracted, for each block, and scale and minimum that eight blocks share.
    minima: Vec<[f32; LANES]>,
    shared: Vec<[[f32; LANES]; 2]>,
}

/// A vector's bytes.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line([u8; VECTOR]);

/// Sums of a step's blocks, `[block, row, lane]`.
#[repr(align(64))]
struct Sums([[[i32; LANES]; ROWS]; TILES]);

/// What `ldtilecfg` reads (Software Developer's Manual, "Intel AMX programming"): the rows of each tile and the bytes of a row.
#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl TileConfig {
    /// Tiles 0 to 3 for sums, 4 and 6 for activations, 5 and 7 for weights, of blocks of `inputs`.
    fn new(inputs: usize) -> Self {
        let mut config =
            Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let (sums, activations, weights) = ((ROWS, VECTOR), (ROWS, inputs), (inputs / 4, VECTOR));
        let tiles = [sums, sums, sums, sums, activations, weights, activations, weights];
        for (tile, (rows, bytes)) in tiles.into_iter().enumerate() {
            config.rows[tile] = rows as u8;
            config.row_bytes[tile] = bytes as u16;
        }
        config
    }
}

/// As [`super::multiply`], which has checked that the processor has the unit and the rows the width: whole tiles of
/// rows here, the rest by VNNI.
#[expect(unsafe_code, reason = "configures the matrix unit")]
pub(super) fn run(panels: &Panels, range: Range<usize>, xs: &Int8Rows, out: &mut [[f32; LANES]]) {
    thread_local! {
        static UNPACKED: RefCell<Unpacked> = RefCell::default();
    }
    let whole = xs.rows() / ROWS * ROWS;
    let config = TileConfig::new(if panels.format() == Format::Q6K { 16 } else { BLOCK });
    UNPACKED.with_borrow_mut(|unpacked| {
        for (index, out) in range.zip(out.chunks_exact_mut(xs.rows())) {
            // SAFETY: the processor and the system have AMX and AVX-512 VNNI, as `is_available` said. The configuration is
            // one that the processor takes, and 64 bytes. `Panels` gives a panel of the size that belongs to its
            // format and width, at a multiple of 64 bytes; `unpacked` is that panel, as wide as the rows, and a tile of
            // rows from `first` on exists.
            unsafe {
                unpack(panels, index, unpacked);
                asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, readonly));
                for first in (0..whole).step_by(ROWS) {
                    let out = &mut out[first..first + ROWS];
                    match panels.format() {
                        Format::Q6K => pass::<16, false>(unpacked, xs, first, out),
                        Format::Q4K => pass::<BLOCK, true>(unpacked, xs, first, out),
                        _ => pass::<BLOCK, false>(unpacked, xs, first, out),
                    }
                }
                asm!("tilerelease", options(nostack, nomem));
            }
            super::vnni::run(panels, index..index + 1, xs, whole, out);
        }
    });
}

/// Fills `to` from a panel.
///
/// # Safety
/// The processor has AVX-512 VNNI.
#[expect(unsafe_code, reason = "a kernel for one instruction set")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn unpack(panels: &Panels, index: usize, to: &mut Unpacked) {
    let format = panels.format();
    let Some(shape) = Shape::of(format) else { return };
    let groups = panels.cols() / shape.inputs;
    let blocks = shape.inputs / if format == Format::Q6K { 16 } else { BLOCK };
    to.numbers.resize(panels.cols() / 4, Line([0; VECTOR]));
    to.scales.resize(groups * blocks, [0.0; LANES]);
    if format == Format::Q4K {
        to.minima.resize(groups * blocks, [0.0; LANES]);
        to.shared.resize(groups, [[0.0; LANES]; 2]);
    }
    let panel = panels.panels(index..index + 1);
    let places = to.numbers.chunks_exact_mut(shape.inputs / 4).zip(to.scales.chunks_exact_mut(blocks));
    for (group, (lines, scales_to)) in places.enumerate() {
        let bytes = &panel[group * shape.bytes()..(group + 1) * shape.bytes()];
        let (scales, numbers) = bytes.split_at(shape.scales * VECTOR);
        let (scales, numbers) = (scales.as_ptr(), numbers.as_ptr());
        // SAFETY: reads the vectors of scales and numbers that the format has in a group, and writes whole lines.
        unsafe {
            for (block, to_scale) in scales_to.iter_mut().enumerate() {
                if format == Format::Q6K {
                    let quads = sixes(numbers.add(3 * block * VECTOR));
                    write(&mut lines[4 * block..4 * block + 4], &quads, 32);
                    let factor = signed(scales.add(32 + LANES * block));
                    store(to_scale.as_mut_ptr(), mul(halves(scales), factor));
                    continue;
                }
                let lines = &mut lines[8 * block..8 * block + 8];
                let scale = match format {
                    Format::Q8_0 => {
                        let mut quads = [splat_byte(0); 8];
                        let mut q = 0;
                        while q < 8 {
                            quads[q] = load(numbers.add((8 * block + q) * VECTOR));
                            q += 1;
                        }
                        write(lines, &quads, 128);
                        halves(scales.add(32 * block))
                    }
                    Format::Q4_0 => {
                        write(lines, &nibbles(numbers.add(4 * block * VECTOR)), 8);
                        halves(scales.add(32 * block))
                    }
                    Format::Q5_0 => {
                        write(lines, &fives(numbers.add(5 * block * VECTOR)), 16);
                        halves(scales.add(32 * block))
                    }
                    _ => {
                        write(lines, &nibbles(numbers.add(4 * block * VECTOR)), 0);
                        let factors = scales.add(64 + 2 * LANES * block);
                        store(to.minima[8 * group + block].as_mut_ptr(), unsigned(factors.add(LANES)));
                        unsigned(factors)
                    }
                };
                store(to_scale.as_mut_ptr(), scale);
            }
            if format == Format::Q4K {
                let [scale, minimum] = &mut to.shared[group];
                store(scale.as_mut_ptr(), halves(scales));
                store(minimum.as_mut_ptr(), halves(scales.add(32)));
            }
        }
    }
}

/// Writes quads less their zero.
///
/// # Safety
/// The processor has AVX-512.
#[expect(unsafe_code, reason = "a kernel for one instruction set")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn write(lines: &mut [Line], quads: &[__m512i], zero: u8) {
    for (line, quad) in lines.iter_mut().zip(quads) {
        // SAFETY: a line is 64 bytes at a multiple of 64.
        unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), _mm512_sub_epi8(*quad, splat_byte(zero))) }
    }
}

/// A tile of rows from `first` on times a panel, in blocks of `INPUTS`; `MINIMA` for the format that has them.
///
/// # Safety
/// The processor has AMX and AVX-512 VNNI, tiles are configured for `INPUTS`, `panel` was unpacked from one of a format with such
/// blocks and as many numbers in a row as `xs` has, and `xs` has that tile.
#[expect(unsafe_code, reason = "a kernel for one instruction set")]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn pass<const INPUTS: usize, const MINIMA: bool>(
    panel: &Unpacked,
    xs: &Int8Rows,
    first: usize,
    out: &mut [[f32; LANES]],
) {
    let (cols, per_row) = (xs.cols(), xs.blocks());
    let blocks = cols / INPUTS;
    assert!(panel.numbers.len() == cols / 4 && panel.scales.len() == blocks && first + ROWS <= xs.rows());
    assert!(blocks > TILES && blocks.is_multiple_of(TILES));
    assert!(!MINIMA || panel.minima.len() == blocks && panel.shared.len() * RUN == blocks);
    let out = &mut out[..ROWS];
    let values = xs.values[first * cols..].as_ptr();
    let scales = xs.scales[first * per_row..].as_ptr();
    let scaled_sums = xs.scaled_sums[first * per_row..].as_ptr();
    let mut sums = [const { Sums([[[0; LANES]; ROWS]; TILES]) }; STEPS];
    // SAFETY: blocks come in steps, so tiles end inside the rows, the panel and `sums`; each of the lists has a number for
    // each block, as asserted.
    unsafe {
        // Writes the sums of the step before and computes those of `step`. A tile is written when the three after it are
        // under way: the unit would wait for its own result otherwise.
        let multiply = |step: usize, sums: &mut [Sums; STEPS]| {
            let to = sums[(step + STEPS - 1) % STEPS].0.as_mut_ptr();
            if step * TILES >= blocks {
                asm!(
                    "tilestored [{c} + {line}*1], tmm0",
                    "tilestored [{c} + {line}*1 + {tile}], tmm1",
                    "tilestored [{c} + {line}*1 + 2*{tile}], tmm2",
                    "tilestored [{c} + {line}*1 + 3*{tile}], tmm3",
                    c = in(reg) to,
                    line = in(reg) VECTOR,
                    tile = const ROWS * LANES * 4,
                    options(nostack),
                );
                return;
            }
            asm!(
                "tilestored [{c} + {line}*1], tmm0",
                "tilezero tmm0",
                "tileloadd tmm4, [{a} + {stride}*1]",
                "tileloadd tmm5, [{b} + {line}*1]",
                "tdpbssd tmm0, tmm4, tmm5",
                "tilestored [{c} + {line}*1 + {tile}], tmm1",
                "tilezero tmm1",
                "tileloadd tmm6, [{a} + {stride}*1 + {inputs}]",
                "tileloadd tmm7, [{b} + {line}*1 + {weights}]",
                "tdpbssd tmm1, tmm6, tmm7",
                "tilestored [{c} + {line}*1 + 2*{tile}], tmm2",
                "tilezero tmm2",
                "tileloadd tmm4, [{a} + {stride}*1 + 2*{inputs}]",
                "tileloadd tmm5, [{b} + {line}*1 + 2*{weights}]",
                "tdpbssd tmm2, tmm4, tmm5",
                "tilestored [{c} + {line}*1 + 3*{tile}], tmm3",
                "tilezero tmm3",
                "tileloadd tmm6, [{a} + {stride}*1 + 3*{inputs}]",
                "tileloadd tmm7, [{b} + {line}*1 + 3*{weights}]",
                "tdpbssd tmm3, tmm6, tmm7",
                a = in(reg) values.add(step * TILES * INPUTS),
                b = in(reg) panel.numbers.as_ptr().add(step * TILES * INPUTS / 4),
                c = in(reg) to,
                stride = in(reg) cols,
                line = in(reg) VECTOR,
                inputs = const INPUTS,
                weights = const INPUTS / 4 * VECTOR,
                tile = const ROWS * LANES * 4,
                options(nostack),
            );
        };
        multiply(0, &mut sums);
        multiply(1, &mut sums);
        let mut run = 0;
        while run * RUN < blocks {
            multiply(2 * run + 2, &mut sums);
            if (2 * run + 2) * TILES < blocks {
                multiply(2 * run + 3, &mut sums);
            }
            let mut first = 0;
            while first < ROWS {
                let out = &mut out[first..first + TOGETHER];
                let mut acc = [zero(); TOGETHER];
                let mut m = 0;
                while run > 0 && m < TOGETHER {
                    acc[m] = _mm512_loadu_ps(out[m].as_ptr());
                    m += 1;
                }
                // A run is a group of the format that has minima.
                let (mut inner, mut below) = ([zero(); TOGETHER], [zero(); TOGETHER]);
                let mut tile = 0;
                while tile < RUN && run * RUN + tile < blocks {
                    let block = run * RUN + tile;
                    let sums = &sums[block / TILES % STEPS].0[tile % TILES];
                    let scale = _mm512_loadu_ps(panel.scales[block].as_ptr());
                    let of_block = first * per_row + block * INPUTS / BLOCK;
                    let mut m = 0;
                    while m < TOGETHER {
                        let dot = floats(_mm512_load_si512(sums[first + m].as_ptr().cast()));
                        let scale = mul(scale, splat(*scales.add(of_block + m * per_row)));
                        if MINIMA {
                            inner[m] = fmadd(dot, scale, inner[m]);
                            let minimum = _mm512_loadu_ps(panel.minima[block].as_ptr());
                            below[m] =
                                fmadd(minimum, splat(*scaled_sums.add(of_block + m * per_row)), below[m]);
                        } else {
                            acc[m] = fmadd(dot, scale, acc[m]);
                        }
                        m += 1;
                    }
                    tile += 1;
                }
                let mut m = 0;
                while m < TOGETHER {
                    if MINIMA {
                        let [scale, minimum] = &panel.shared[run];
                        let (scale, minimum) =
                            (_mm512_loadu_ps(scale.as_ptr()), _mm512_loadu_ps(minimum.as_ptr()));
                        acc[m] = fnmadd(below[m], minimum, fmadd(inner[m], scale, acc[m]));
                    }
                    store(out[m].as_mut_ptr(), acc[m]);
                    m += 1;
                }
                first += TOGETHER;
            }
            run += 1;
        }
    }
}
