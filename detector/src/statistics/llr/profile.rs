//! Profiles of the likelihood ratio detector: fitted classes, their enumerated null law, and where they come from.
//!
//! A profile is a small JSON file with a version. Everything that decides a p-value is stored as integers, and a
//! checksum over them finds damage. The laws of a file that does not ship with the crate are counted again before they
//! are used. So a file can cost power but never validity; see [`laws`](super::laws).

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;

use super::classes::EntropyClasses;
use super::enumerate::enumerate;
use super::error::{FORMAT, ProfileError, VERSION};
use super::lattice::{POINTS_A_NAT, STEP, lattice};
use super::laws::{self, Laws};
use super::profile_file::{ClassesFile, File, Marked, Source};
use crate::cache::Cache;
use crate::pool::available_threads;
use crate::scheme::GBits;
use crate::statistics::null::TableNull;

/// Probabilities of the marked law are stored in units of 2^-40.
const MARKED_UNITS: f64 = (1_u64 << 40) as f64;

/// Size of the largest profile. Profiles have some tens of kilobytes; a larger file is something else.
const MAX_FILE: u64 = 1 << 20;

/// The profiles that ship with the crate.
const BUILTIN: [(&str, &str); 5] = [
    ("pooled", include_str!("../../../profiles/pooled.json")),
    ("t1.0", include_str!("../../../profiles/t1.0.json")),
    ("t0.7", include_str!("../../../profiles/t0.7.json")),
    ("t0.5", include_str!("../../../profiles/t0.5.json")),
    ("t0.35", include_str!("../../../profiles/t0.35.json")),
];

/// Name of the profile that defines "a marked text" when a verdict asks whether a text is long enough.
pub const REFERENCE: &str = "t0.5";

/// Fitted classes with the laws of their lattice score.
#[derive(Clone, Debug)]
pub struct Profile {
    name: String,
    source: Source,
    classes: EntropyClasses,
    /// Name and classes of the marked law, if these are not the profile's own.
    alternative: Option<(String, EntropyClasses)>,
    tables: OnceLock<Tables>,
}

#[derive(Clone, Debug)]
struct Tables {
    null: TableNull,
    marked: TableNull,
    laws: Laws,
}

impl Profile {
    /// Makes a profile of `classes`. Its marked law only decides how long a text must be. It is that of `alternative`,
    /// a name and classes of at least the same depth, or the profile's own. The laws are enumerated when they are first
    /// needed: some seconds at depth 30, half as long with each layer less.
    pub fn new(
        name: &str,
        source: Source,
        classes: EntropyClasses,
        alternative: Option<(&str, &EntropyClasses)>,
    ) -> Self {
        let depth = classes.depth();
        Self {
            name: name.into(),
            source,
            classes,
            alternative: alternative
                .filter(|(_, classes)| classes.depth() >= depth)
                .map(|(name, classes)| (name.into(), classes.truncated(depth))),
            tables: OnceLock::new(),
        }
    }

    /// Returns the profiles that ship with the crate, at depth 30: `pooled`, which is the default, and `t1.0`,
    /// `t0.7`, `t0.5`, `t0.35`, each for the temperature in its name.
    pub fn builtin() -> &'static [Self] {
        static PROFILES: OnceLock<Vec<Profile>> = OnceLock::new();
        PROFILES.get_or_init(|| {
            BUILTIN
                .iter()
                .map(|(name, json)| {
                    File::parse(json, name)
                        .and_then(|file| Self::believed(file, name))
                        .expect("a test reads the profiles of this crate")
                })
                .collect()
        })
    }

    /// Returns the built-in profile of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        let index = BUILTIN.iter().position(|(builtin, _)| *builtin == name)?;
        Self::builtin().get(index)
    }

    /// Returns the default profile, which was fitted on all temperatures together.
    pub fn pooled() -> &'static Self {
        &Self::builtin()[0]
    }

    /// Returns the profile [`REFERENCE`].
    pub fn reference() -> &'static Self {
        Self::named(REFERENCE).expect("the reference is one of the built-in profiles")
    }

    /// Reads a file that [`to_json`](Self::to_json) wrote, and counts its laws again: some seconds at depth 30, half as
    /// long with each layer less. [`read_with_cache`](Self::read_with_cache) counts them only once.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not a profile, is damaged, or has laws that are not those of its
    /// classes.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ProfileError> {
        Self::read_with_cache(path, None, |_| ())
    }

    /// Reads a file as [`read`](Self::read) does. Laws that `cache` remembers as right are not counted; `tell` gets a
    /// sentence before a count.
    ///
    /// # Errors
    /// Returns an error if [`read`](Self::read) would.
    pub fn read_with_cache(
        path: impl AsRef<Path>,
        cache: Option<&Cache>,
        mut tell: impl FnMut(&str),
    ) -> Result<Self, ProfileError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let json = read_limited(path).map_err(|source| ProfileError::Read { path: name.clone(), source })?;
        Self::from_json_with(&json, &name, cache, &mut tell)
    }

    /// Parses the content of a file and counts its laws again, as [`read`](Self::read) does; `path` is for error
    /// messages.
    ///
    /// # Errors
    /// Returns an error if it is not a profile, is damaged, or has laws that are not those of its classes.
    pub fn from_json(json: &str, path: &str) -> Result<Self, ProfileError> {
        Self::from_json_with(json, path, None, &mut |_| ())
    }

    fn from_json_with(
        json: &str,
        path: &str,
        cache: Option<&Cache>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, ProfileError> {
        let file = File::parse(json, path)?;
        let digest = file.sha256();
        let profile = Self::believed(file, path)?;
        let count = || {
            tell(&format!("counting 2^{} patterns to check the laws of {path}, once", profile.depth()));
            profile.count()
        };
        let checked = profile.tables().laws.check(&digest, cache, count);
        checked.map_err(|source| ProfileError::Law { path: path.into(), source })?;
        Ok(profile)
    }

    /// Returns the profile in a file, with its laws unchecked.
    fn believed(file: File, path: &str) -> Result<Self, ProfileError> {
        let damaged = |what| ProfileError::Damaged { what, path: path.into() };
        let classes_error = |source| ProfileError::Classes { path: path.into(), source };
        let classes = EntropyClasses::new(file.weights, file.psi).map_err(classes_error)?;
        let alternative = match file.marked.classes {
            None => None,
            Some(ClassesFile { weights, psi }) => {
                let marked = EntropyClasses::new(weights, psi).map_err(classes_error)?;
                if marked.depth() != classes.depth() {
                    return Err(damaged("marked law"));
                }
                Some((file.marked.law, marked))
            }
        };
        if file.points_a_nat != POINTS_A_NAT {
            return Err(damaged("lattice"));
        }
        let laws = Laws {
            first: file.first,
            null: file.null,
            marked: file.marked.parts.iter().map(|&part| part as f64 / MARKED_UNITS).collect(),
        };
        let tables = Tables::new(laws).ok_or_else(|| damaged("null law"))?;
        Ok(Self { name: file.name, source: file.source, classes, alternative, tables: tables.into() })
    }

    /// Lets `cache` remember that the laws are right. The file that [`to_json`](Self::to_json) makes is then read
    /// without a count.
    pub fn remember(&self, cache: &Cache) {
        laws::remember(&self.file().sha256(), Some(cache));
    }

    /// Returns the file's content, with a line feed at the end.
    pub fn to_json(&self) -> String {
        // Integers and strings always have a JSON form.
        let mut json = serde_json::to_string(&self.file()).unwrap_or_default();
        json.push('\n');
        json
    }

    fn file(&self) -> File {
        let laws = &self.tables().laws;
        let mut file = File {
            format: FORMAT.into(),
            version: VERSION,
            name: self.name.clone(),
            source: self.source.clone(),
            weights: self.classes.weights().to_vec(),
            psi: self.classes.psi().to_vec(),
            points_a_nat: POINTS_A_NAT,
            first: laws.first,
            null: laws.null.clone(),
            marked: Marked {
                law: self.alternative.as_ref().map_or(&self.name, |(name, _)| name).clone(),
                classes: self.alternative.as_ref().map(|(_, classes)| ClassesFile {
                    weights: classes.weights().to_vec(),
                    psi: classes.psi().to_vec(),
                }),
                parts: laws.marked.iter().map(|p| (p * MARKED_UNITS).round() as u64).collect(),
            },
            checksum: String::new(),
        };
        file.checksum = file.digest();
        file
    }

    /// Returns the profile for keys of `depth` layers: this one if it has no more layers, otherwise its first `depth`
    /// layers. Their laws are enumerated when they are first needed.
    pub fn for_depth(&self, depth: usize) -> Self {
        if depth >= self.depth() {
            return self.clone();
        }
        let classes = self.classes.truncated(depth);
        let alternative = self.alternative.as_ref().map(|(name, classes)| (name.as_str(), classes));
        Self::new(&self.name, self.source.clone(), classes, alternative)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns where the profile comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the classes.
    pub fn classes(&self) -> &EntropyClasses {
        &self.classes
    }

    /// Returns the number of layers that the profile uses, 1 to 30.
    pub fn depth(&self) -> usize {
        self.classes.depth()
    }

    /// Returns S(g) in lattice units of h = 1/32 nat: the same integer on every machine.
    pub fn score(&self, g: GBits) -> i32 {
        lattice(self.classes.likelihood_ratio(g))
    }

    /// Returns h · S(g), which is at most ln LR(g). Its exponential has a mean of at most 1 under the null.
    pub fn ln_lr(&self, g: GBits) -> f64 {
        f64::from(self.score(g)) * STEP
    }

    /// Returns the null law of S.
    pub(crate) fn null(&self) -> &TableNull {
        &self.tables().null
    }

    /// Returns the law of S in marked text like the text that the profile was fitted on. For the built-in `pooled` it
    /// is text at temperature 0.5.
    pub(crate) fn marked(&self) -> &TableNull {
        &self.tables().marked
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| Tables::new(self.count()).expect("2^depth patterns have a law"))
    }

    fn count(&self) -> Laws {
        let alternative = self.alternative.as_ref().map(|(_, classes)| classes);
        enumerate(&self.classes, alternative, available_threads())
    }
}

fn read_limited(path: &Path) -> io::Result<String> {
    let mut json = String::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut json)?;
    if json.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("expected at most {MAX_FILE} bytes, found more")));
    }
    Ok(json)
}

impl Tables {
    fn new(laws: Laws) -> Option<Self> {
        let first = i64::from(laws.first);
        Some(Self {
            null: TableNull::from_counts(first, &laws.null)?,
            marked: TableNull::new(first, &laws.marked)?,
            laws,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::classes::MAX_DEPTH;
    use super::*;

    fn random_bits(mut state: u64) -> impl FnMut() -> u64 {
        move || crate::split_mix::next(&mut state)
    }

    #[test]
    fn builtin_profiles_are_read_and_written_the_same() {
        for (profile, (name, json)) in Profile::builtin().iter().zip(BUILTIN) {
            assert_eq!((profile.name(), profile.depth()), (name, MAX_DEPTH));
            assert_eq!(profile.to_json(), json);
            assert!((profile.null().mass().iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(profile.marked().mean() > 0.0 || name == "t1.0", "{name}");
        }
        assert!(Profile::named("t0.6").is_none());
    }

    /// The same integers on every machine; a change here makes all written profiles wrong.
    #[test]
    fn scores_of_fixed_patterns() {
        let patterns = [0, u64::MAX, 0x2aaa_aaaa, 0x1555_5555, 0x0000_7fff, 0x3fff_8000, 0x1234_5678];
        let scores: Vec<Vec<i32>> = Profile::builtin()
            .iter()
            .map(|profile| patterns.iter().map(|&g| profile.score(GBits(g))).collect())
            .collect();
        assert_eq!(scores, GOLDEN);
    }

    const GOLDEN: [[i32; 7]; 5] = [
        [-73, 188, -18, -11, 46, -46, -24],
        [-133, 217, -34, -24, 57, -72, -45],
        [-98, 173, -15, -8, 37, -59, -21],
        [-58, 113, -7, -4, 28, -39, -12],
        [-33, 72, -6, -1, 23, -24, -7],
    ];

    /// The table that ships is the law of the scores: chi-square over random patterns.
    #[test]
    fn builtin_tables_are_the_law_of_the_scores() {
        let mut next = random_bits(3);
        for profile in Profile::builtin() {
            let null = profile.null();
            let draws = 100_000;
            let mut found = vec![0.0; null.mass().len()];
            for _ in 0..draws {
                found[(i64::from(profile.score(GBits(next()))) - null.first()) as usize] += 1.0;
            }
            let (mut chi2, mut cells) = (0.0, 0.0);
            let (mut seen, mut expected) = (0.0, 0.0);
            for (n, p) in found.iter().zip(null.mass()) {
                (seen, expected) = (seen + n, expected + p * f64::from(draws));
                if expected > 50.0 {
                    chi2 += (seen - expected) * (seen - expected) / expected;
                    (cells, seen, expected) = (cells + 1.0, 0.0, 0.0);
                }
            }
            // Six standard deviations.
            assert!(
                chi2 < cells + 6.0 * f64::sqrt(2.0 * cells),
                "{}: {chi2} in {cells} cells",
                profile.name()
            );
        }
    }

    #[test]
    fn fewer_layers_have_their_own_law() {
        let profile = Profile::pooled().for_depth(10);
        assert_eq!((profile.depth(), Profile::pooled().for_depth(40).depth()), (10, MAX_DEPTH));
        let counted = profile.null().mass().iter().sum::<f64>();
        assert!((counted - 1.0).abs() < 1e-12);
        let mean: f64 = (0..1 << 10).map(|g| f64::from(profile.score(GBits(g)))).sum::<f64>() / 1024.0;
        assert!((mean - profile.null().mean()).abs() < 1e-9);
        let written = Profile::from_json(&profile.to_json(), "x").unwrap();
        assert_eq!((written.null(), written.classes()), (profile.null(), profile.classes()));
        assert!((written.marked().mean() - profile.marked().mean()).abs() < 1e-6);
    }

    #[test]
    fn damage_is_found() {
        let json = Profile::pooled().for_depth(6).to_json();
        let refused = |json: &str| Profile::from_json(json, "x").unwrap_err();
        assert!(matches!(refused("{}"), ProfileError::Json { .. }));
        assert!(matches!(
            refused(&json.replace("\"version\":1", "\"version\":2")),
            ProfileError::Version { .. }
        ));
        let weight = format!("\"weights\":[{}", Profile::pooled().classes().weights()[0]);
        assert!(json.contains(&weight));
        assert!(matches!(
            refused(&json.replacen(&weight, "\"weights\":[7", 1)),
            ProfileError::Damaged { what: "checksum", .. }
        ));
        assert!(matches!(Profile::read("no such file"), Err(ProfileError::Read { .. })));
    }

    /// The author wants every text found, or no text long enough, and knows how the checksum is made.
    #[test]
    fn a_doctored_law_is_refused_whatever_its_checksum() {
        let json = Profile::pooled().for_depth(8).to_json();
        let doctored = |change: &dyn Fn(&mut File)| {
            let mut file: File = serde_json::from_str(&json).unwrap();
            change(&mut file);
            file.checksum = file.digest();
            Profile::from_json(&serde_json::to_string(&file).unwrap(), "doctored.json").map(|_| ())
        };
        doctored(&|_| ()).unwrap();
        doctored(&|file| file.points_a_nat += 1).unwrap_err();
        let changes: [&dyn Fn(&mut File); 6] = [
            // Nearly all patterns are at the lowest score, one at the highest: any ordinary text is far out.
            &|file| {
                let (total, last) = (file.null.iter().sum::<u64>(), file.null.len() - 1);
                file.null.fill(0);
                (file.null[0], file.null[last]) = (total - 1, 1);
            },
            // One pattern moved by one lattice point: the sum is the same, and hardly any moment differs.
            &|file| {
                let most = (0..file.null.len() - 1).max_by_key(|&i| file.null[i + 1]).unwrap();
                (file.null[most], file.null[most + 1]) = (file.null[most] + 1, file.null[most + 1] - 1);
            },
            // The whole law is one lattice point lower.
            &|file| file.first -= 1,
            &|file| *file.null.last_mut().unwrap() += 1,
            // A marked law by which no text is long enough.
            &|file| file.marked.parts.reverse(),
            &|file| {
                file.null.push(0);
                file.marked.parts.push(0);
            },
        ];
        for (i, change) in changes.into_iter().enumerate() {
            let error = doctored(change).unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, ProfileError::Law { .. }), "{i}: {message}");
            assert!(message.starts_with("doctored.json: its law is not that of its classes"), "{message}");
        }
    }

    /// u = P(S > s) + U P(S = s) is uniform when the bits are fair.
    #[test]
    fn randomised_p_is_uniform() {
        const CELLS: usize = 50;
        let mut next = random_bits(11);
        let (n, texts) = (40, 20_000);
        let profile = Profile::pooled();
        let mut known = std::collections::HashMap::new();
        let mut tail = |s| *known.entry(s).or_insert_with(|| profile.null().tail(n, s).exp());
        let mut histogram = [0_usize; CELLS];
        for _ in 0..texts {
            let s: i64 = (0..n).map(|_| i64::from(profile.score(GBits(next())))).sum();
            let share = (next() >> 11) as f64 / (1_u64 << 53) as f64;
            let u = tail(s + 1) + share * (tail(s) - tail(s + 1));
            histogram[((u * CELLS as f64) as usize).min(CELLS - 1)] += 1;
        }
        let expected = f64::from(texts) / CELLS as f64;
        let chi2: f64 = histogram.iter().map(|&k| (k as f64 - expected).powi(2) / expected).sum();
        // The upper 1e-6 point of chi-square with 49 degrees of freedom.
        assert!(chi2 < 110.0, "{chi2}");
    }
}
