//! Attention of one layer: rotary embedding, soft cap, window and softmax, in blocks of queries.
//!
//! A block sees the keys from the window's start of its first query to its last query; other keys cost nothing.
//! Nothing of size positions² is kept: the backward pass computes a block's weights again.

use crate::kernels::gemm::dense::{View, ViewMut, product};
use crate::kernels::loops;
use crate::model::config::LayerRules;
use crate::model::rope::Angles;

/// Number of queries in a block.
const BLOCK: usize = 64;

/// The attention of a layer over `batch` rows of `len` positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attention<'a> {
    pub(super) batch: usize,
    pub(super) len: usize,
    pub(super) rules: &'a LayerRules,
    /// Angles of positions 0 to at least `len` − 1.
    pub(super) angles: &'a Angles,
}

/// A block's scores and gradients.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    weights: Vec<f32>,
    slope: Vec<f32>,
    grad: Vec<f32>,
}

/// A block of queries of one row of the batch, and the keys that it sees.
struct Block {
    /// Its first query, counted within the row.
    query: usize,
    queries: usize,
    key: usize,
    keys: usize,
}

impl Attention<'_> {
    fn width(&self) -> usize {
        (self.rules.heads + 2 * self.rules.kv_heads) * self.rules.head_dim
    }

    fn blocks(&self) -> impl Iterator<Item = Block> {
        let (len, rules) = (self.len, self.rules);
        (0..len).step_by(BLOCK).map(move |query| {
            let queries = BLOCK.min(len - query);
            let key = rules.seen(query).start;
            Block { query, queries, key, keys: query + queries - key }
        })
    }

    /// Returns the keys of the block that its query `i` sees.
    fn seen(&self, block: &Block, i: usize) -> std::ops::Range<usize> {
        let seen = self.rules.seen(block.query + i);
        seen.start - block.key..seen.end - block.key
    }

    /// Returns where the head's queries, keys and values begin in a row of `qkv`.
    fn columns(&self, head: usize) -> [usize; 3] {
        let LayerRules { heads, kv_heads, head_dim, .. } = *self.rules;
        let kv = head / self.rules.group();
        [head, heads + kv, heads + kv_heads + kv].map(|column| column * head_dim)
    }

    fn rotate(&self, qkv: &mut [f32], rotate: fn(&mut [f32], &[f32], &[f32])) {
        let LayerRules { heads, kv_heads, head_dim, .. } = *self.rules;
        for (r, row) in qkv.chunks_exact_mut(self.width()).enumerate() {
            let (cos, sin) = self.angles.at(r % self.len);
            for head in row[..(heads + kv_heads) * head_dim].chunks_exact_mut(head_dim) {
                rotate(head, cos, sin);
            }
        }
    }

    /// Maps `qkv`, `[n, width]`, to `out`, `[n, heads · head_dim]`. Rotates queries and keys in place.
    pub(super) fn forward(&self, qkv: &mut [f32], out: &mut [f32], scratch: &mut Scratch) {
        self.rotate(qkv, loops::rotate_head);
        let LayerRules { heads, head_dim: dim, .. } = *self.rules;
        let (scale, softcap) = (self.rules.scale_f32(), self.rules.softcap_f32());
        let (width, mixed) = (self.width(), heads * dim);
        for row in 0..self.batch {
            let first = row * self.len;
            for head in 0..heads {
                let [q, k, v] = self.columns(head);
                for b in self.blocks() {
                    let at = |position: usize, column: usize| &qkv[(first + position) * width + column..];
                    let queries = View::strided(at(b.query, q), b.queries, dim, width);
                    let keys = View::strided(at(b.key, k), b.keys, dim, width);
                    let values = View::strided(at(b.key, v), b.keys, dim, width);
                    let weights = super::room(&mut scratch.weights, b.queries * b.keys);
                    product(ViewMut::new(weights, b.queries, b.keys), queries, keys.t(), scale, false);
                    for (i, scores) in weights.chunks_exact_mut(b.keys).enumerate() {
                        let seen = self.seen(&b, i);
                        scores[..seen.start].fill(0.0);
                        scores[seen.end..].fill(0.0);
                        loops::attention_row(&mut scores[seen], softcap);
                    }
                    let out = &mut out[(first + b.query) * mixed + head * dim..];
                    let out = ViewMut::strided(out, b.queries, dim, mixed);
                    product(out, View::new(weights, b.queries, b.keys), values, 1.0, false);
                }
            }
        }
    }

    /// Computes the gradient of `qkv` before the rotation, from the rotated `qkv` and `grad`, the gradient of the
    /// output.
    pub(super) fn backward(&self, qkv: &[f32], grad: &[f32], dqkv: &mut [f32], scratch: &mut Scratch) {
        dqkv.fill(0.0);
        let LayerRules { heads, head_dim: dim, .. } = *self.rules;
        let (scale, softcap) = (self.rules.scale_f32(), self.rules.softcap_f32());
        let (width, mixed) = (self.width(), heads * dim);
        for row in 0..self.batch {
            let first = row * self.len;
            for head in 0..heads {
                let [q, k, v] = self.columns(head);
                for b in self.blocks() {
                    let place = |position: usize, column: usize| (first + position) * width + column;
                    let queries = View::strided(&qkv[place(b.query, q)..], b.queries, dim, width);
                    let keys = View::strided(&qkv[place(b.key, k)..], b.keys, dim, width);
                    let values = View::strided(&qkv[place(b.key, v)..], b.keys, dim, width);
                    let grad = &grad[(first + b.query) * mixed + head * dim..];
                    let grad = View::strided(grad, b.queries, dim, mixed);
                    let size = b.queries * b.keys;
                    let weights = super::room(&mut scratch.weights, size);
                    let slope = super::room(&mut scratch.slope, size);
                    let ds = super::room(&mut scratch.grad, size);
                    product(ViewMut::new(weights, b.queries, b.keys), queries, keys.t(), scale, false);
                    product(ViewMut::new(ds, b.queries, b.keys), grad, values.t(), 1.0, false);
                    let rows = weights
                        .chunks_exact_mut(b.keys)
                        .zip(slope.chunks_exact_mut(b.keys))
                        .zip(ds.chunks_exact_mut(b.keys));
                    for (i, ((w, slope), ds)) in rows.enumerate() {
                        let seen = self.seen(&b, i);
                        for hidden in [0..seen.start, seen.end..b.keys] {
                            w[hidden.clone()].fill(0.0);
                            ds[hidden].fill(0.0);
                        }
                        let slope = &mut slope[seen.clone()];
                        loops::attention_row_with_slope(&mut w[seen.clone()], slope, softcap);
                        loops::attention_grad_row(&mut ds[seen.clone()], &w[seen], slope);
                    }
                    let (w, ds) = (View::new(weights, b.queries, b.keys), View::new(ds, b.queries, b.keys));
                    let dv = ViewMut::strided(&mut dqkv[place(b.key, v)..], b.keys, dim, width);
                    product(dv, w.t(), grad, 1.0, true);
                    let dq = ViewMut::strided(&mut dqkv[place(b.query, q)..], b.queries, dim, width);
                    product(dq, ds, keys, scale, false);
                    let dk = ViewMut::strided(&mut dqkv[place(b.key, k)..], b.keys, dim, width);
                    product(dk, ds.t(), queries, scale, true);
                }
            }
        }
        self.rotate(dqkv, loops::rotate_head_back);
    }
}
