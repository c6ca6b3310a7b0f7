//! The JSON of a profile.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{FORMAT, ProfileError, VERSION};

/// Where a profile comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Model, sampling settings and prompts, in words.
    pub description: String,
    /// Texts it was fitted on.
    pub texts: u64,
    /// Their scored tokens.
    pub tokens: u64,
}

/// The fields that every version has.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub format: String,
    pub version: u32,
    pub name: String,
    pub source: Source,
    /// The weights, in units of 2^-16.
    pub weights: Vec<u32>,
    /// The ψ, in units of 2^-12, one row a class.
    pub psi: Vec<Vec<u16>>,
    pub points_a_nat: i32,
    /// The score of the first entry of `null` and of `marked.parts`.
    pub first: i32,
    /// How many patterns have each score.
    pub null: Vec<u64>,
    pub marked: Marked,
    pub checksum: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marked {
    /// Name of the profile whose classes make the law.
    pub law: String,
    /// Those classes, if they are not the profile's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<ClassesFile>,
    /// The probabilities, in units of 2^-40.
    pub parts: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassesFile {
    pub weights: Vec<u32>,
    pub psi: Vec<Vec<u16>>,
}

impl File {
    /// Reads the content of a file; `path` is for error messages.
    pub(super) fn parse(json: &str, path: &str) -> Result<Self, ProfileError> {
        let json_error = |source| ProfileError::Json { path: path.into(), source };
        let head: Head = serde_json::from_str(json).map_err(json_error)?;
        if head.format != FORMAT || head.version != VERSION {
            return Err(ProfileError::Version {
                path: path.into(),
                format: head.format,
                version: head.version,
            });
        }
        let file: Self = serde_json::from_str(json).map_err(json_error)?;
        if file.checksum != file.digest() {
            return Err(ProfileError::Damaged { what: "checksum", path: path.into() });
        }
        Ok(file)
    }

    /// Returns the first 16 hexadecimal digits of [`sha256`](Self::sha256).
    pub(super) fn digest(&self) -> String {
        crate::hex::encode(&self.sha256()[..8])
    }

    /// Returns SHA-256 over all numbers that decide a score or a p-value, as little-endian i64, each list with its
    /// length in front.
    pub(super) fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut list = |numbers: &mut dyn ExactSizeIterator<Item = i64>| {
            hash.update((numbers.len() as i64).to_le_bytes());
            numbers.for_each(|x| hash.update(x.to_le_bytes()));
        };
        let own = (&self.weights, &self.psi);
        let other = self.marked.classes.as_ref().map(|classes| (&classes.weights, &classes.psi));
        for (weights, psi) in [Some(own), other].into_iter().flatten() {
            list(&mut weights.iter().map(|&x| i64::from(x)));
            for row in psi {
                list(&mut row.iter().map(|&x| i64::from(x)));
            }
        }
        list(&mut [i64::from(self.points_a_nat), i64::from(self.first)].into_iter());
        list(&mut self.null.iter().map(|&x| x as i64));
        list(&mut self.marked.parts.iter().map(|&x| x as i64));
        hash.finalize().into()
    }
}
