//! What a judge reads, in which order, and how its reply is parsed.
//!
//! The conventions are those of LLM Comparator: seven verdicts, and a reply in XML with an explanation and a verdict. Each example
//! is judged several times, half of them with the responses in the other order.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use wmdetect::split_mix::mix;

use super::{CompareError, Verdict};

/// Default prompt for a judge.
pub const PROMPT: &str = "\
Two assistants, A and B, have each responded to the same prompt. Judge which response is better.

Consider whether a response does what was asked, whether it is correct, clear and to the point, and whether it is harmless. The order \
of the responses does not matter, and a long response is not better for its length.

Reply in this XML and nothing else:

<result>
<explanation>One to three sentences on why, which call the responses Response A and Response B.</explanation>
<verdict>One of: A is much better, A is better, A is slightly better, same, B is slightly better, B is better, B is much \
better.</verdict>
</result>

[Prompt]
{prompt}

[Response A]
{response_a}
[End of Response A]

[Response B]
{response_b}
[End of Response B]

[Result]
";

/// Placeholders that a judge's prompt must have.
const PLACES: [&str; 3] = ["prompt", "response_a", "response_b"];

/// A judge's prompt with placeholders for an example.
#[derive(Clone, Debug)]
pub struct Template(String);

impl Template {
    /// Takes a text with `{prompt}`, `{response_a}` and `{response_b}`.
    ///
    /// # Errors
    /// Returns an error if one of them is missing.
    pub fn new(text: impl Into<String>) -> Result<Self, CompareError> {
        let text = text.into();
        match PLACES.into_iter().find(|place| !text.contains(&format!("{{{place}}}"))) {
            Some(missing) => Err(CompareError::Template { missing }),
            None => Ok(Self(text)),
        }
    }

    /// Returns the text with its placeholders.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what the judge reads. B's response comes first if `flipped`. Text in a response that looks like a placeholder is
    /// kept.
    pub fn fill(&self, prompt: &str, responses: [&str; 2], flipped: bool) -> String {
        static PLACE: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"\{(prompt|response_a|response_b)\}").expect("the pattern is fixed and well-formed")
        });
        let [first, second] = if flipped { [responses[1], responses[0]] } else { responses };
        let value = |place: &Captures<'_>| match &place[1] {
            "prompt" => prompt.to_owned(),
            "response_a" => first.to_owned(),
            _ => second.to_owned(),
        };
        PLACE.replace_all(&self.0, value).into_owned()
    }
}

/// Returns whether the judge reads B's response first in this repeat of an example. The first repeat is decided at random. Each
/// further repeat has the other order than the one before it.
pub fn is_flipped(seed: u64, example: usize, repeat: usize) -> bool {
    let first = mix(mix(seed) ^ example as u64) & 1;
    (first + repeat as u64) % 2 == 1
}

/// Returns the seed of the judge's draws in this repeat of an example. It is below 2^53, so that every JSON reader keeps it
/// exactly.
pub fn draw_seed(seed: u64, example: usize, repeat: usize) -> u64 {
    mix(mix(mix(seed).wrapping_add(example as u64)).wrapping_add(repeat as u64)) >> 11
}

/// Reason why a reply has no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// There is no `<verdict>`.
    NoVerdict,
    /// The verdict is not one of the seven; this is its beginning.
    Unknown(String),
}

/// Parses a judge's reply: the verdict, and the explanation, which may be empty. Text before the end of a `</think>` is ignored. An
/// element without a closing tag extends to the end of the reply.
///
/// # Errors
/// Returns an error if the reply has no verdict; [`Unread`] says what it has instead.
pub fn read_reply(reply: &str) -> Result<(Verdict, String), Unread> {
    let reply = reply.rsplit_once("</think>").map_or(reply, |(_, said)| said);
    let verdict = element(reply, "verdict").ok_or(Unread::NoVerdict)?;
    let explanation = element(reply, "explanation").unwrap_or_default();
    match Verdict::parse(&verdict) {
        Some(verdict) => Ok((verdict, explanation)),
        None => Err(Unread::Unknown(verdict.chars().take(80).collect())),
    }
}

/// Returns the content of the first element of this name, without white space around it.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, behind) = text.split_once(&format!("<{name}>"))?;
    let inside = behind.split("</").next().unwrap_or_default();
    let plain = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    let inside = plain.iter().fold(inside.to_owned(), |text, (from, to)| text.replace(from, to));
    Some(inside.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_whatever_stands_around_them() {
        let reply = "Sure!\n<result>\n<explanation>\n A &lt;b&gt; is used.\n</explanation><verdict> B is better </verdict></result> bye";
        assert_eq!(read_reply(reply), Ok((Verdict::B, "A <b> is used.".into())));
        let thought = format!("<think><verdict>same</verdict></think>{reply}");
        assert_eq!(read_reply(&thought), read_reply(reply));
        assert_eq!(read_reply("<verdict>same"), Ok((Verdict::Same, String::new())));
        assert_eq!(read_reply("A is better"), Err(Unread::NoVerdict));
        assert_eq!(read_reply("<verdict>both fail</verdict>"), Err(Unread::Unknown("both fail".into())));
        // The prompt's description of the verdict is not a verdict.
        assert!(matches!(read_reply(PROMPT), Err(Unread::Unknown(_))));
    }

    #[test]
    fn half_of_the_orders_are_flipped_and_responses_stay_as_they_are() {
        let template = Template::new(PROMPT).unwrap();
        let filled = template.fill("p {response_a}", ["{prompt}", "b"], true);
        let [p, b, a] = ["[Prompt]\np {response_a}\n", "[Response A]\nb\n", "[Response B]\n{prompt}\n"]
            .map(|part| filled.find(part));
        assert!(p.is_some() && p < b && b < a, "{filled}");
        assert_eq!(
            Template::new("{prompt} {response_a}").unwrap_err(),
            CompareError::Template { missing: "response_b" }
        );
        let flipped = |example| (0..6).filter(|&repeat| is_flipped(1, example, repeat)).count();
        assert!((0..100).all(|example| flipped(example) == 3));
        let first = (0..1000).filter(|&example| is_flipped(1, example, 0)).count();
        assert!((420..580).contains(&first), "{first}"); // five standard deviations
        assert_ne!(draw_seed(1, 0, 1), draw_seed(1, 1, 0));
    }
}
