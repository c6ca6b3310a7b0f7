//! Operations on vectors of 16 lanes, for each instruction set. The kernels for panels and for attention are written with them.
//!
//! [`vnni`] and [`avx2`] have the same operations under the same names, so that a kernel is written once and compiled for both.
//! Both give the same bits.

#![cfg(target_arch = "x86_64")]

pub(in crate::kernels) mod avx2;
pub(in crate::kernels) mod vnni;

/// Makes the frame of the function that calls this begin at a multiple of 64 bytes.
///
/// A kernel for eight rows uses more numbers than there are registers, and keeps some in its frame. The compiler aligns the frame
/// for them only if something else in it requires alignment. Otherwise the callers decide whether such a number crosses two lines
/// of the cache, or two pages; storing it then took a seventh of a kernel's time.
#[inline(always)]
pub(in crate::kernels) fn align_frame() {
    #[repr(align(64))]
    struct Line(u8);
    let mut line = Line(0);
    std::hint::black_box(&mut line.0);
}

/// Defines operations of an instruction set: inlined, compiled for it, and unsafe only because of what they read and write.
macro_rules! operations {
    ($features:literal: $(
        $(#[$doc:meta])*
        fn $name:ident $(<const $n:ident: $n_type:ty>)? ($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block
    )*) => {
        $(
            $(#[$doc])*
            #[expect(unsafe_code, reason = "an operation for one instruction set, which may read or write through a pointer")]
            #[inline]
            #[target_feature(enable = $features)]
            pub(in crate::kernels) unsafe fn $name $(<const $n: $n_type>)? ($($arg: $type),*) $(-> $result)? {
                // SAFETY: the caller passes pointers to as many bytes as the operation reads or writes.
                #[allow(unused_unsafe, reason = "some only compute")]
                unsafe { $body }
            }
        )*
    };
}

/// Defines, from the operations in scope, how to read the numbers of each format from the vectors of a
/// [panel](crate::kernels::panels).
macro_rules! unpackers {
    ($features:literal) => {
        $crate::kernels::simd::operations! { $features:
            /// Loads the quads of 32 inputs.
            fn bytes(numbers: *const u8, ahead: Ahead) -> [Bytes; 8] {
                let mut quads = [splat_byte(0); 8];
                let mut q = 0;
                while q < 8 {
                    quads[q] = load(numbers.add(q * VECTOR), ahead);
                    q += 1;
                }
                quads
            }

            /// Splits four vectors into lower and upper halves: quads 0 to 3 and 4 to 7 of 32 inputs.
            fn nibbles(numbers: *const u8, ahead: Ahead) -> [Bytes; 8] {
                let mask = splat_byte(15);
                let mut quads = [mask; 8];
                let mut v = 0;
                while v < 4 {
                    let both = load(numbers.add(v * VECTOR), ahead);
                    quads[v] = and(both, mask);
                    quads[4 + v] = and(shift_right::<4>(both), mask);
                    v += 1;
                }
                quads
            }

            /// Returns the 5-bit numbers of 32 inputs, from four vectors of nibbles and one of fifth bits.
            fn fives(numbers: *const u8, ahead: Ahead) -> [Bytes; 8] {
                let (quads, fifth) = (nibbles(numbers, ahead), load(numbers.add(4 * VECTOR), ahead));
                let bit = splat_byte(16);
                [
                    or(quads[0], and(shift_left::<4>(fifth), bit)),
                    or(quads[1], and(shift_left::<3>(fifth), bit)),
                    or(quads[2], and(shift_left::<2>(fifth), bit)),
                    or(quads[3], and(shift_left::<1>(fifth), bit)),
                    or(quads[4], and(fifth, bit)),
                    or(quads[5], and(shift_right::<1>(fifth), bit)),
                    or(quads[6], and(shift_right::<2>(fifth), bit)),
                    or(quads[7], and(shift_right::<3>(fifth), bit)),
                ]
            }

            /// Returns the 6-bit numbers of 16 inputs, from two vectors of lower halves and one of upper bits.
            fn sixes(numbers: *const u8, ahead: Ahead) -> [Bytes; 4] {
                let (a, b) = (load(numbers, ahead), load(numbers.add(VECTOR), ahead));
                let (low, high) = (splat_byte(15), load(numbers.add(2 * VECTOR), ahead));
                [
                    or(and(a, low), shift_left::<4>(and(high, splat_byte(0x03)))),
                    or(and(b, low), shift_left::<2>(and(high, splat_byte(0x0C)))),
                    or(and(shift_right::<4>(a), low), and(high, splat_byte(0x30))),
                    or(and(shift_right::<4>(b), low), shift_right::<2>(and(high, splat_byte(0xC0)))),
                ]
            }

            /// Loads two times 16 half floats.
            fn halves2(numbers: *const u8, ahead: Ahead) -> [Floats; 2] {
                ahead.ask(numbers);
                [halves(numbers), halves(numbers.add(VECTOR / 2))]
            }
        }
    };
}

/// Runs `$body` for the 32 inputs of each block in `$blocks` of a group of a quantised format, with the operations in scope. The
/// weights of `$quads` are number · `$scale` + `$zero`, with a lane for each row. In `q6_k` only 16 inputs have one scale, so the
/// body runs twice for a block. `$first` is the number of the first input in the group.
macro_rules! for_each_block {
    ($format:expr, $scales:expr, $numbers:expr, $blocks:expr, $ahead:expr,
     |$first:ident, $quads:ident, $scale:ident, $zero:ident| $body:block) => {{
        let (scales, numbers, blocks): (*const u8, *const u8, std::ops::Range<usize>) =
            ($scales, $numbers, $blocks);
        let ahead: $crate::kernels::prefetch::Ahead = $ahead;
        macro_rules! one_scale {
            ($unpack:ident of $vectors:literal, $below:literal) => {{
                let mut block = blocks.start;
                while block < blocks.end {
                    let $first = 32 * block;
                    let $scale = halves(scales.add(32 * block));
                    let $quads = $unpack(numbers.add($vectors * block * VECTOR), ahead);
                    let $zero = mul($scale, splat($below));
                    $body
                    block += 1;
                }
            }};
        }
        match $format {
            Format::Q8_0 => one_scale!(bytes of 8, -128.0),
            Format::Q4_0 => one_scale!(nibbles of 4, -8.0),
            Format::Q5_0 => one_scale!(fives of 5, -16.0),
            Format::Q4K => {
                let mut block = blocks.start;
                while block < blocks.end {
                    let $first = 32 * block;
                    let factors = scales.add(64 + 2 * LANES * block);
                    let $scale = mul(halves(scales), unsigned(factors));
                    let minimum = mul(halves(scales.add(32)), unsigned(factors.add(LANES)));
                    let $quads = nibbles(numbers.add(4 * block * VECTOR), ahead);
                    let $zero = mul(minimum, splat(-1.0));
                    $body
                    block += 1;
                }
            }
            // The remaining format is q6_k.
            _ => {
                let mut half = 2 * blocks.start;
                while half < 2 * blocks.end {
                    let $first = 16 * half;
                    let $scale = mul(halves(scales), signed(scales.add(32 + LANES * half)));
                    let $quads = sixes(numbers.add(3 * half * VECTOR), ahead);
                    let $zero = mul($scale, splat(-32.0));
                    $body
                    half += 1;
                }
            }
        }
    }};
}

use unpackers;
pub(in crate::kernels) use {for_each_block, operations};
