//! Strings that end a response.

/// Cuts a stream of text before the first stop string.
///
/// Text that may turn out to be the start of a stop string is held back until that is decided. So what has been
/// returned never needs to be taken back. The first stop string is the one that is complete first; of two that are
/// complete at the same character, the longer one. The result does not depend on how the text was cut into parts.
///
/// ```
/// let mut stop = wmgen::text::StopMatcher::new(["\n\n"]);
/// assert_eq!(stop.push("one\n"), "one");
/// assert_eq!(stop.push("two\n\nthree"), "\ntwo");
/// assert!(stop.stopped());
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopMatcher {
    /// Stop strings without empty ones, longest first.
    stops: Vec<String>,
    /// The end of the text so far, if it is the start of a stop string.
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// Makes a matcher for these strings. Empty strings are left out, because they would stop everything.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut stops: Vec<String> =
            stops.into_iter().map(Into::into).filter(|stop| !stop.is_empty()).collect();
        stops.sort_unstable_by_key(|stop| std::cmp::Reverse(stop.len()));
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes the next part of the text, and returns what certainly comes before any stop string. After a match,
    /// everything is discarded.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        if self.stops.is_empty() {
            return text.to_owned();
        }
        let mut out = String::new();
        for c in text.chars() {
            self.held.push(c);
            if let Some(stop) = self.stops.iter().find(|stop| self.held.ends_with(stop.as_str())) {
                self.held.truncate(self.held.len() - stop.len());
                out.push_str(&self.held);
                self.held.clear();
                self.stopped = true;
                return out;
            }
            let start =
                self.held.char_indices().map(|(at, _)| at).find(|&at| self.may_start(&self.held[at..]));
            out.extend(self.held.drain(..start.unwrap_or(self.held.len())));
        }
        out
    }

    /// Ends the text and returns what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Returns whether a stop string has occurred.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    fn may_start(&self, end: &str) -> bool {
        self.stops.iter().any(|stop| stop.starts_with(end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run<'a>(stops: &[&str], parts: impl IntoIterator<Item = &'a str>) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().copied());
        let mut text: String = parts.into_iter().map(|part| matcher.push(part)).collect();
        text += &matcher.finish();
        (text, matcher.stopped())
    }

    #[test]
    fn first_complete_match_cuts() {
        for (stops, text, expected) in [
            (&["END"][..], "one ENDtwo", ("one ", true)),
            (&["END"], "one EN", ("one EN", false)),
            (&["END"], "one ENEND", ("one EN", true)),
            (&["aab"], "aaab", ("a", true)),
            (&["abc", "b"], "abc", ("a", true)),
            (&["c", "abc"], "xabc", ("x", true)),
            (&["é😀"], "éé😀", ("é", true)),
            (&[""], "text", ("text", false)),
            (&[], "text", ("text", false)),
        ] {
            let (kept, stopped) = run(stops, [text]);
            assert_eq!((kept.as_str(), stopped), expected, "{stops:?} in {text:?}");
        }
    }

    #[test]
    fn nothing_after_the_stop() {
        let mut matcher = StopMatcher::new(["."]);
        assert_eq!(matcher.push("a.b"), "a");
        assert_eq!(matcher.push("c"), "");
        assert_eq!(matcher.finish(), "");
    }

    /// The definition, without holding back: the shortest prefix that ends with a stop string, minus the longest such
    /// string.
    fn naive(stops: &[String], text: &str) -> (String, bool) {
        for (at, c) in text.char_indices() {
            let head = &text[..at + c.len_utf8()];
            let longest =
                stops.iter().filter(|s| !s.is_empty() && head.ends_with(s.as_str())).map(String::len).max();
            if let Some(len) = longest {
                return (head[..head.len() - len].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    proptest! {
        #[test]
        fn parts_do_not_matter(
            stops in proptest::collection::vec("[abé]{0,4}", 0..4),
            parts in proptest::collection::vec("[abé]{0,5}", 0..8),
        ) {
            let views: Vec<&str> = stops.iter().map(String::as_str).collect();
            prop_assert_eq!(run(&views, parts.iter().map(String::as_str)), naive(&stops, &parts.concat()));
        }
    }
}
