//! Profiles of the likelihood ratio detector: fitted classes, their enumerated null law, and where they come from.
//!
//! A profile is a small JSON file with a version. All that decides a p-value is stored as integers; a checksum over
//! them finds damage, and reading checks that the null law counts every pattern once and that the mean of e^{hS} is
//! what the lattice allows. A person who can write the file can make p mean anything, as with a key file.

use std::path::Path;
use std::sync::OnceLock;

use super::classes::EntropyClasses;
use super::enumerate::{Laws, enumerate};
use super::error::{FORMAT, ProfileError, VERSION};
use super::lattice::{POINTS_A_NAT, STEP, lattice};
use super::profile_file::{ClassesFile, File, Marked, Source};
use crate::pool::available_threads;
use crate::scheme::GBits;
use crate::statistics::null::TableNull;

/// Probabilities of the marked law are stored in units of 2^-40.
const MARKED_UNITS: f64 = (1_u64 << 40) as f64;

/// The profiles that ship with the crate.
const BUILTIN: [(&str, &str); 5] = [
    ("pooled", include_str!("../../../profiles/pooled.json")),
    ("t1.0", include_str!("../../../profiles/t1.0.json")),
    ("t0.7", include_str!("../../../profiles/t0.7.json")),
    ("t0.5", include_str!("../../../profiles/t0.5.json")),
    ("t0.35", include_str!("../../../profiles/t0.35.json")),
];

/// Name of the profile that says what "a marked text" is where a verdict asks whether a text is long enough.
pub const REFERENCE: &str = "t0.5";

/// Fitted classes with the laws of their lattice score.
#[derive(Clone, Debug)]
pub struct Profile {
    name: String,
    source: Source,
    classes: EntropyClasses,
    /// Name and classes of the marked law, where these are not the profile's own.
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
    /// Makes a profile of `classes`. Its marked law, which only decides how long a text must be, is that of
    /// `alternative` (a name and classes of at least the same depth), or its own. The laws are enumerated when they
    /// are first needed: some seconds at depth 30, half of that with each layer less.
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
                    Self::from_json(json, name).expect("a test reads the profiles of this crate")
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

    /// Reads a file that [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not a profile, or is damaged.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ProfileError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let json = std::fs::read_to_string(path)
            .map_err(|source| ProfileError::Read { path: name.clone(), source })?;
        Self::from_json(&json, &name)
    }

    /// Parses the content of a file; `path` is for error messages.
    ///
    /// # Errors
    /// Returns an error if it is not a profile, or is damaged.
    pub fn from_json(json: &str, path: &str) -> Result<Self, ProfileError> {
        let file = File::parse(json, path)?;
        let damaged = |what| ProfileError::Damaged { what, path: path.into() };
        let classes_error = |source| ProfileError::Classes { path: path.into(), source };
        let classes = EntropyClasses::new(file.weights.clone(), file.psi.clone()).map_err(classes_error)?;
        let alternative = match &file.marked.classes {
            None => None,
            Some(ClassesFile { weights, psi }) => {
                let marked = EntropyClasses::new(weights.clone(), psi.clone()).map_err(classes_error)?;
                if marked.depth() != classes.depth() {
                    return Err(damaged("marked law"));
                }
                Some((file.marked.law.clone(), marked))
            }
        };
        let total = file.null.iter().try_fold(0_u64, |sum, &n| sum.checked_add(n));
        let ends = [GBits(0), GBits(u64::MAX)].map(|g| lattice(classes.likelihood_ratio(g)));
        let last = file.first + file.null.len() as i32 - 1;
        if file.points_a_nat != POINTS_A_NAT
            || total != Some(1 << classes.depth())
            || file.marked.parts.len() != file.null.len()
            || ends != [file.first, last]
        {
            return Err(damaged("null law"));
        }
        let laws = Laws {
            first: file.first,
            null: file.null,
            marked: file.marked.parts.iter().map(|&part| part as f64 / MARKED_UNITS).collect(),
        };
        let tables = Tables::new(laws).ok_or_else(|| damaged("marked law"))?;
        let mean = tables.mean_e_value();
        if !(mean <= 1.0 + 1e-9 && mean > (-STEP).exp() * (1.0 - 1.0 / 256.0)) {
            return Err(damaged("null law"));
        }
        Ok(Self { name: file.name, source: file.source, classes, alternative, tables: tables.into() })
    }

    /// Returns the file's content, with a line feed at the end.
    pub fn to_json(&self) -> String {
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
        // Integers and strings always have a JSON form.
        let mut json = serde_json::to_string(&file).unwrap_or_default();
        json.push('\n');
        json
    }

    /// Returns the profile for keys of `depth` layers: this one if it looks at no more, otherwise its first `depth`
    /// layers, the laws of which are enumerated when they are first needed.
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

    /// Returns where it comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the classes.
    pub fn classes(&self) -> &EntropyClasses {
        &self.classes
    }

    /// Returns the number of layers that it looks at, 1 to 30.
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

    /// The null law of S.
    pub(crate) fn null(&self) -> &TableNull {
        &self.tables().null
    }

    /// The law of S in marked text: in text as the profile was fitted on; for the built-in `pooled`, in text at
    /// temperature 0.5.
    pub(crate) fn marked(&self) -> &TableNull {
        &self.tables().marked
    }

    fn tables(&self) -> &Tables {
        self.tables.get_or_init(|| {
            let alternative = self.alternative.as_ref().map(|(_, classes)| classes);
            Tables::new(enumerate(&self.classes, alternative, available_threads()))
                .expect("2^depth patterns have a law")
        })
    }
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

    /// E e^{hS} under the null.
    fn mean_e_value(&self) -> f64 {
        (self.null.first()..).zip(self.null.mass()).map(|(s, p)| p * (s as f64 * STEP).exp()).sum()
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
        // A table that was changed together with its checksum.
        let mut file: File = serde_json::from_str(&json).unwrap();
        *file.null.last_mut().unwrap() += 1;
        file.checksum = file.digest();
        let error = refused(&serde_json::to_string(&file).unwrap());
        assert!(matches!(error, ProfileError::Damaged { what: "null law", .. }), "{error}");
        assert!(matches!(Profile::read("no such file"), Err(ProfileError::Read { .. })));
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
