//! Which statistic decides, by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which statistic decides. The first four are for tournaments, whose tokens have one g-value, 0 or 1, a layer; see
/// [`GBits`](crate::scheme::GBits). The last two are for the marks of other engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// The share of ones among the g-values; early layers weigh more.
    WeightedMean,
    /// The share of ones among the g-values.
    Mean,
    /// The likelihood ratio under a profile of marked text: the built-in `pooled`, unless a
    /// [`Profile`](crate::statistics::Profile) is given in the method's place.
    Llr,
    /// The posterior of a trained Bayesian detector: the built-in one, unless a
    /// [`Bayesian`](crate::statistics::Bayesian) is given in the method's place.
    Bayesian,
    /// The mean of −ln(1 − u) for schemes that draw by uniform numbers.
    Gumbel,
    /// The number of green tokens, as z.
    GreenList,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 6] =
        [Self::WeightedMean, Self::Mean, Self::Llr, Self::Bayesian, Self::Gumbel, Self::GreenList];

    /// Returns the name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::WeightedMean => "weighted_mean",
            Self::Mean => "mean",
            Self::Llr => "llr",
            Self::Bayesian => "bayesian",
            Self::Gumbel => "gumbel",
            Self::GreenList => "green_list",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that does not belong to any method.
#[derive(Debug, thiserror::Error)]
#[error("expected the detector weighted-mean, mean, llr, bayesian, gumbel or green-list, found {found:?}")]
pub struct UnknownMethod {
    found: String,
}

/// Accepts the JSON name and the command line's (`weighted_mean`, `weighted-mean`).
impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let name = s.replace('-', "_");
        Self::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| UnknownMethod { found: s.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_of_the_command_line() {
        for kind in Method::ALL {
            assert_eq!(kind.name().parse::<Method>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!("weighted-mean".parse::<Method>().unwrap(), Method::WeightedMean);
        assert!("median".parse::<Method>().unwrap_err().to_string().contains("weighted-mean"));
    }
}
