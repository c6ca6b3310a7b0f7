//! Hints for the libraries' errors, in terms of this program's flags.

use std::error::Error;

use wmgen::bench::BenchError;
use wmgen::engine::{Failure, RequestError};
use wmgen::respond::RespondError;
use wmgen::sample::SampleError;
use wmgen::verify::VerifyError;

/// Returns the hint for an error, if there is one.
pub(super) fn of(error: &anyhow::Error) -> Option<&'static str> {
    match error.chain().find_map(sample_error)? {
        SampleError::GreedyWatermark { .. } => Some("--no-watermark writes unmarked text"),
        SampleError::Nan { .. } | SampleError::Infinite { .. } => Some("try --dtype f32"),
        _ => None,
    }
}

/// Returns the sampler's error that an error is or contains.
fn sample_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e SampleError> {
    let respond = || match error.downcast_ref()? {
        RespondError::Failed(Failure::Sample(error))
        | RespondError::Request(RequestError::Sampling(error)) => Some(error),
        _ => None,
    };
    let verify = || match error.downcast_ref()? {
        VerifyError::Sample(error) => Some(error),
        _ => None,
    };
    let bench = || match error.downcast_ref()? {
        BenchError::Sample(error) => Some(error),
        _ => None,
    };
    error.downcast_ref().or_else(respond).or_else(verify).or_else(bench)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_hint_whoever_hands_it_on() {
        let nan = || SampleError::Nan { token: 3 };
        let errors = [
            anyhow::Error::new(nan()).context("cannot go on"),
            RespondError::Failed(Failure::Sample(nan())).into(),
            VerifyError::Sample(nan()).into(),
            BenchError::Sample(nan()).into(),
        ];
        for error in errors {
            assert_eq!(of(&error), Some("try --dtype f32"), "{error:#}");
        }
        assert_eq!(of(&RespondError::Stopped.into()), None);
    }
}
