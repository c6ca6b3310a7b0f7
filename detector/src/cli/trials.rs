//! Tries other options on a text in which nothing was found.

use wmdetect::report::{Report, Warning, WarningCode};
use wmdetect::statistics::PValue;
use wmdetect::text::normalise::{Form, Markup, Normaliser};
use wmdetect::{Detector, Input, Verdict};

/// A longer text is not tried again, since that would take as long as several texts.
const LONGEST: usize = 256 << 10;

/// Returns options that the command line does not set, each with the normaliser that it makes of `given`.
fn alternatives(given: Normaliser) -> Vec<(&'static str, Normaliser)> {
    let form = |form| Normaliser { form, ..given };
    let strip = |markup| Normaliser { strip: Some(markup), ..given };
    let mut all = match given.form {
        Form::None => vec![("--normalise default", form(Form::Default))],
        Form::Default => vec![("--normalise nfc", form(Form::Nfc)), ("--normalise none", form(Form::None))],
        Form::Nfc => vec![("--normalise none", form(Form::None))],
    };
    if !given.fold_confusables {
        all.push(("--fold-confusables", Normaliser { fold_confusables: true, ..given }));
    }
    if given.strip.is_none() {
        all.extend([("--strip markdown", strip(Markup::Markdown)), ("--strip html", strip(Markup::Html))]);
    }
    all
}

/// Returns a remark with the option that would have found the mark. Returns `None` if the mark was found without it, or
/// if no option would find it. The remark is corrected for the number of trials; the verdict of `report` stays as it
/// is.
///
/// A text is tried again only with options that change it.
pub(super) fn suggestion(
    detector: &Detector,
    given: Normaliser,
    report: &Report,
    text: &[u8],
) -> Option<Warning> {
    if report.verdict == Verdict::Watermarked || text.len() > LONGEST {
        return None;
    }
    let texts = |normaliser: Normaliser| {
        let text = |form: Normaliser| form.apply_bytes(text).text().to_owned();
        normaliser.forms().into_iter().map(text).collect::<Vec<_>>()
    };
    let known = texts(given);
    let is_new = |normaliser| texts(normaliser).iter().any(|text| !known.contains(text));
    let trials: Vec<_> =
        alternatives(given).into_iter().filter(|(_, normaliser)| is_new(*normaliser)).collect();
    let tried = trials.len() + 1;
    let results = trials.into_iter().filter_map(|(option, normaliser)| {
        let report = detector.with_normaliser(normaliser).score(Input::bytes(text)).ok()?;
        Some((option, PValue { log10: report.log10_p?, kind: report.p_kind }.corrected(tried)))
    });
    let (option, p) = results.min_by(|(_, a), (_, b)| a.log10.total_cmp(&b.log10))?;
    p.reaches(report.fpr).then(|| {
        Warning::new(
            WarningCode::OtherNormalisation,
            format!(
                "{option} would find the mark (p = {p}, corrected for {tried} ways to read the text); the verdict and its p \
                 do not count this trial"
            ),
        )
    })
}
