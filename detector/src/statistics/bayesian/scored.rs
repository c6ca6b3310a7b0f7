//! A detector ready to score: the weights with the laws of their lattice score. The laws are kept in `null.json`.

use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::BayesianError;
use super::format::{read, write};
use super::model::BayesianModel;
use super::null::{EXACT_LAYERS, enumerate};
use crate::cache::Cache;
use crate::pool::available_threads;
use crate::scheme::GBits;
use crate::statistics::llr::lattice::{POINTS_A_NAT, STEP, lattice};
use crate::statistics::llr::laws::{self, Laws};
use crate::statistics::method::Method;
use crate::statistics::null::TableNull;
use crate::statistics::power::Test;
use crate::statistics::sample::{Sample, Selected, UnsupportedEvidence};
use crate::statistics::scored::Scored;
use crate::statistics::statistic::{Posterior, Statistic};

const NULL: &str = "null.json";
const FORMAT: &str = "wmdetect-bayesian-null";
const VERSION: u32 = 1;

/// Probabilities of the marked law are stored in units of 2^-40.
const MARKED_UNITS: f64 = (1_u64 << 40) as f64;

/// The Bayesian detector. One token's score is S(g) = ⌊ln(c)/h⌋ on the lattice of [`llr`](crate::statistics::llr),
/// where c is the lower edge of the cell of its likelihood ratio. A text's score is the sum.
#[derive(Clone, Debug)]
pub struct Bayesian {
    model: BayesianModel,
    tables: OnceLock<Tables>,
}

#[derive(Clone, Debug)]
struct Tables {
    laws: Laws,
    null: TableNull,
    marked: TableNull,
}

impl Tables {
    fn new(laws: Laws) -> Option<Self> {
        let first = i64::from(laws.first);
        let null = TableNull::from_counts(first, &laws.null)?;
        let marked = TableNull::new(first, &laws.marked)?;
        Some(Self { laws, null, marked })
    }
}

/// The content of null.json.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    version: u32,
    /// [`BayesianModel::fingerprint`] of the weights.
    weights_sha256: String,
    points_a_nat: i32,
    /// The score of the first entry of both tables.
    first: i32,
    /// How many patterns of the first min(m, 30) layers have each score.
    null: Vec<u64>,
    /// The probability of each score in marked text, in units of 2^-40.
    marked: Vec<u64>,
}

/// The files of the detector that ships with the crate.
const BUILTIN: (&str, &[u8], &[u8], &[u8]) = (
    "profiles/bayesian",
    include_bytes!("../../../profiles/bayesian/config.json"),
    include_bytes!("../../../profiles/bayesian/model.safetensors"),
    include_bytes!("../../../profiles/bayesian/null.json"),
);

impl Bayesian {
    /// Makes a detector with these weights. All patterns of their layers are counted when that is first needed, which
    /// takes some seconds at 30 layers.
    pub fn new(model: BayesianModel) -> Self {
        Self { model, tables: OnceLock::new() }
    }

    /// Returns the detector that ships with the crate: 30 layers, fitted to texts of Gemma 3 270M at temperatures
    /// from 0.35 to 1 under throw-away keys.
    pub fn builtin() -> &'static Self {
        static DETECTOR: OnceLock<Bayesian> = OnceLock::new();
        DETECTOR.get_or_init(|| {
            let (dir, config, weights, null) = BUILTIN;
            let model = BayesianModel::parse(Path::new(dir), config, weights)
                .expect("a test reads the detector of this crate");
            let tables = File::parse(null, &model).and_then(|file| Tables::new(file.into_laws()));
            Self { model, tables: tables.map_or_else(OnceLock::new, OnceLock::from) }
        })
    }

    /// Reads a detector's directory, and counts its null law: some seconds at 30 layers. If `null.json` is missing or
    /// belongs to other weights, the law is written there if the directory is writable. `tell` gets a sentence about
    /// that. [`open_with_cache`](Self::open_with_cache) counts a law only once.
    ///
    /// # Errors
    /// Returns an error if a file of the weights cannot be read or is not what it should be, or if `null.json` is for
    /// these weights but has another law.
    pub fn open(dir: impl AsRef<Path>, tell: impl FnMut(&str)) -> Result<Self, BayesianError> {
        Self::open_with_cache(dir, None, tell)
    }

    /// Reads a directory as [`open`](Self::open) does. A law that `cache` remembers as right is not counted.
    ///
    /// # Errors
    /// Returns an error if [`open`](Self::open) would.
    pub fn open_with_cache(
        dir: impl AsRef<Path>,
        cache: Option<&Cache>,
        mut tell: impl FnMut(&str),
    ) -> Result<Self, BayesianError> {
        let dir = dir.as_ref();
        let path = dir.join(NULL);
        let detector = Self::new(BayesianModel::open(dir)?);
        let layers = exact_layers(&detector.model);
        let file = read(&path).ok().and_then(|json| File::parse(&json, &detector.model));
        if let Some(file) = file {
            let digest = file.sha256();
            let laws = file.into_laws();
            let count = || {
                tell(&format!("counting 2^{layers} patterns to check {}, once", path.display()));
                detector.count()
            };
            laws.check(&digest, cache, count)
                .map_err(|source| BayesianError::Law { path: path.clone(), source })?;
            let tables = Tables::new(laws).expect("laws that were counted");
            return Ok(Self { tables: tables.into(), ..detector });
        }
        tell(&format!(
            "counting 2^{layers} patterns for exact p-values, once; they are kept in {}",
            path.display()
        ));
        match detector.write_null(dir) {
            Ok(()) => laws::remember(&detector.file().sha256(), cache),
            Err(error) => tell(&format!("{error}; the patterns will be counted again next time")),
        }
        Ok(detector)
    }

    /// Returns the detector for keys of `depth` layers: this one if it has no more layers, otherwise its first `depth`
    /// layers.
    pub fn for_depth(&self, depth: usize) -> Self {
        if depth >= self.model.depth() { self.clone() } else { Self::new(self.model.truncated(depth)) }
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| {
            Tables::new(self.count()).expect("counts of at least one pattern and their probabilities")
        })
    }

    fn count(&self) -> Laws {
        enumerate(&self.model, exact_layers(&self.model), available_threads())
    }

    /// Writes weights, configuration and null law into a directory.
    ///
    /// # Errors
    /// Returns an error if a file cannot be written.
    pub fn write(&self, dir: impl AsRef<Path>) -> Result<(), BayesianError> {
        self.model.write(&dir)?;
        self.write_null(dir.as_ref())
    }

    fn write_null(&self, dir: &Path) -> Result<(), BayesianError> {
        let mut json = serde_json::to_vec(&self.file()).expect("integers and strings have a JSON form");
        json.push(b'\n');
        write(&dir.join(NULL), &json)
    }

    /// Lets `cache` remember that the law is right. The directory that [`write`](Self::write) makes is then read
    /// without a count.
    pub fn remember(&self, cache: &Cache) {
        laws::remember(&self.file().sha256(), Some(cache));
    }

    /// Returns the content of null.json.
    fn file(&self) -> File {
        let laws = &self.tables().laws;
        File {
            format: FORMAT.into(),
            version: VERSION,
            weights_sha256: self.model.fingerprint(),
            points_a_nat: POINTS_A_NAT,
            first: laws.first,
            null: laws.null.clone(),
            marked: laws.marked.iter().map(|p| (p * MARKED_UNITS).round() as u64).collect(),
        }
    }

    /// Returns the weights.
    pub fn model(&self) -> &BayesianModel {
        &self.model
    }

    /// Returns S(g) in lattice units of h = 1/32 nat, over the first [`EXACT_LAYERS`] layers at most: the same
    /// integer on every machine.
    pub fn token_score(&self, g: GBits) -> i32 {
        lattice(self.model.ratio_of_first(exact_layers(&self.model), g))
    }

    /// Returns the null law of S.
    pub(crate) fn null(&self) -> &TableNull {
        &self.tables().null
    }

    /// Returns the law of S in marked text, by the detector's own model.
    pub(crate) fn marked(&self) -> &TableNull {
        &self.tables().marked
    }

    fn g_bits<'a>(&self, sample: Sample<'a>) -> Result<Selected<'a, GBits>, UnsupportedEvidence> {
        sample.g_bits(self.method(), &(self.model.depth()..=usize::MAX))
    }
}

impl Statistic for Bayesian {
    fn method(&self) -> Method {
        Method::Bayesian
    }

    fn values(&self, sample: Sample<'_>) -> Result<Vec<i32>, UnsupportedEvidence> {
        Ok(self.g_bits(sample)?.map(|g| self.token_score(g)).collect())
    }

    fn sum(&self, sample: Sample<'_>) -> Result<i64, UnsupportedEvidence> {
        Ok(self.g_bits(sample)?.map(|g| i64::from(self.token_score(g))).sum())
    }

    fn smallest_sum(&self, scored: Scored) -> i64 {
        scored.full as i64 * self.null().first()
    }

    fn largest_sum(&self, scored: Scored) -> i64 {
        scored.full as i64 * self.null().last()
    }

    fn ln_tail(&self, scored: Scored, sum: i64) -> f64 {
        self.null().tail(scored.full, sum)
    }

    /// Returns h Σ S in nats. It is at most the text's log likelihood ratio, so its exponential is an e-value.
    fn score(&self, scored: Scored, sum: i64) -> Option<f64> {
        (scored.full > 0).then_some(sum as f64 * STEP)
    }

    /// Computes the length for marked text that follows the detector's own model.
    fn required_tokens(&self, alpha: f64) -> u64 {
        Test { null: &|n, s| self.ln_tail(Scored::full(n), s), marked: self.marked() }.required_tokens(alpha)
    }

    fn posterior(&self) -> Option<&dyn Posterior> {
        Some(self)
    }

    fn fitted_keys(&self) -> &[String] {
        &self.model.provenance().key_ids
    }
}

impl Posterior for Bayesian {
    fn ln_ratio(&self, sample: Sample<'_>) -> Result<f64, UnsupportedEvidence> {
        Ok(self.g_bits(sample)?.map(|g| self.model.ratio(g).ln()).sum())
    }

    fn probability(&self, ln_ratio: f64) -> f64 {
        self.model.posterior_of(ln_ratio)
    }
}

fn exact_layers(model: &BayesianModel) -> usize {
    model.depth().min(EXACT_LAYERS)
}

impl File {
    /// Parses null.json. Returns `None` if it is not such a file, or if it belongs to other weights.
    fn parse(json: &[u8], model: &BayesianModel) -> Option<Self> {
        let file: Self = serde_json::from_slice(json).ok()?;
        let is_ours = file.format == FORMAT
            && file.version == VERSION
            && file.weights_sha256 == model.fingerprint()
            && file.points_a_nat == POINTS_A_NAT;
        is_ours.then_some(file)
    }

    fn into_laws(self) -> Laws {
        let marked = self.marked.iter().map(|&part| part as f64 / MARKED_UNITS).collect();
        Laws { first: self.first, null: self.null, marked }
    }

    /// Returns SHA-256 over the weights and their laws.
    fn sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(&self.weights_sha256);
        hash.update(self.first.to_le_bytes());
        for list in [&self.null, &self.marked] {
            hash.update((list.len() as u64).to_le_bytes());
            for number in list {
                hash.update(number.to_le_bytes());
            }
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::tests::small;
    use super::*;

    #[test]
    fn the_built_in_detector_has_its_laws() {
        let detector = Bayesian::builtin();
        assert_eq!(detector.model().depth(), 30);
        assert!(detector.tables.get().is_some(), "null.json does not belong to the weights");
        assert!(detector.required_tokens(1e-3) < 100);
        assert_eq!(detector.for_depth(12).model().depth(), 12);
    }

    #[test]
    fn the_null_law_is_kept_and_belongs_to_the_weights() {
        let dir = tempfile::tempdir().unwrap();
        let open =
            |told: &mut Vec<String>| Bayesian::open(dir.path(), |text| told.push(text.into())).unwrap();
        small(11).write(dir.path()).unwrap();
        let mut told = Vec::new();
        let first = open(&mut told);
        assert!(told.len() == 1 && told[0].contains("2^11 patterns"), "{told:?}");
        let again = open(&mut told);
        assert!(told.len() == 2 && told[1].contains("to check"), "{told:?}");
        told.truncate(1);
        assert_eq!(again.null(), first.null());
        assert!((again.marked().mean() - first.marked().mean()).abs() < 1e-6);
        // A file that is cut short, or that belongs to other weights, is made again.
        let path = dir.path().join(NULL);
        let json = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &json[..json.len() / 2]).unwrap();
        assert_eq!(open(&mut told).null(), first.null());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), json);
        small(10).write(dir.path()).unwrap();
        assert_eq!(open(&mut told).model().depth(), 10);
        assert!(told[1..].iter().all(|text| text.contains("they are kept in")), "{told:?}");
    }

    /// The author of a directory can write any law into it.
    #[test]
    fn a_doctored_law_is_refused_and_a_right_one_counted_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("cache"));
        let path = dir.path().join(NULL);
        let mut counts = 0;
        let mut open = || {
            Bayesian::open_with_cache(dir.path(), Some(&cache), |text| {
                counts += usize::from(text.starts_with("counting"));
            })
        };
        Bayesian::new(small(9)).write(dir.path()).unwrap();
        open().unwrap();
        open().unwrap();
        let json = std::fs::read(&path).unwrap();
        let changes: [&dyn Fn(&mut File); 4] = [
            &|file| {
                let (total, last) = (file.null.iter().sum::<u64>(), file.null.len() - 1);
                file.null.fill(0);
                (file.null[0], file.null[last]) = (total - 1, 1);
            },
            &|file| file.first -= 1,
            &|file| file.marked.reverse(),
            &|file| file.null.clear(),
        ];
        for change in changes {
            let mut file: File = serde_json::from_slice(&json).unwrap();
            change(&mut file);
            std::fs::write(&path, serde_json::to_vec(&file).unwrap()).unwrap();
            let error = open().unwrap_err();
            assert!(matches!(error, BayesianError::Law { .. }), "{error}");
            assert!(error.to_string().contains("remove the file, and it is made again"), "{error}");
        }
        std::fs::write(&path, json).unwrap();
        open().unwrap();
        assert_eq!(counts, 5);
    }

    /// P(S ≥ s) of two tokens, counted.
    #[test]
    fn p_values_are_counts() {
        let detector = Bayesian::new(small(6));
        let scores: Vec<i64> = (0..64).map(|g| i64::from(detector.token_score(GBits(g)))).collect();
        for pair in [[GBits(0), GBits(5)], [GBits(63), GBits(31)], [GBits(63), GBits(63)]] {
            let found = detector.evaluate(Sample::layers(6, &pair)).unwrap();
            let pairs = scores.iter().flat_map(|a| scores.iter().map(move |b| a + b));
            let expected = pairs.filter(|s| *s >= found.sum).count() as f64 / 4096.0;
            let p = found.p.unwrap();
            assert!((p.p() / expected - 1.0).abs() < 1e-9, "{pair:?}: {} for {expected}", p.p());
            let ln_ratio: f64 = pair.iter().map(|&g| detector.model().ratio(g).ln()).sum();
            let score = found.score.unwrap();
            assert!(score <= ln_ratio && ln_ratio < score + 2.0 * (STEP + 1.0 / 256.0));
        }
        assert!(detector.p_value(Scored::full(0), 0).is_none());
    }
}
