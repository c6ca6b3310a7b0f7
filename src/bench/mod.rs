//! How fast a model runs on this machine, with and without the mark.

mod report;

pub use report::{
    BenchDecode, BenchDepth, BenchModel, BenchRead, BenchReport, BenchSampling, BenchWatermark, Spread,
};
