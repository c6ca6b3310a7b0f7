use proptest::prelude::*;

use super::*;

fn default(text: &str) -> String {
    Normaliser::default().apply(text).text().to_owned()
}

#[test]
fn correct_writing_stays() {
    for text in [
        "Plain English, naïve café, “quotes” and 10\u{A0}km.",
        "family 👨\u{200D}👩\u{200D}👧, heart ❤\u{FE0F}\u{200D}🔥, tone 👩🏽\u{200D}⚕\u{FE0F}, pirate 🏴\u{200D}☠\u{FE0F}",
        "keys 1\u{FE0F}\u{20E3} #\u{FE0F}\u{20E3}, text style ©\u{FE0E}, flag 🇵🇱",
        "Scotland 🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}!",
        // Persian: "I want", "houses", the abbreviation of the Hijri calendar.
        "می\u{200C}خواهم خانه\u{200C}ها سال ۱۳۰۰ ه\u{200D}.",
        // Hindi, Marathi, Malayalam, Bengali, Kannada.
        "क्\u{200D}ष क्\u{200C}ष र्\u{200D}य ന്\u{200D} র\u{200D}্য ರ್\u{200D}ಕ",
        "फ़िल्म \u{95E}िल्म \u{95C}",
        "ภาษา\u{200B}ไทย ភាសា\u{200B}ខ្មែរ",
        "עברית \u{200E}(2020)\u{200E} والعربية \u{2068}x\u{2069}",
        "葛\u{E0100}城 ︙ ≨\u{FE00}",
        "ᠮᠣᠩᠭᠣᠯ\u{180E}ᠠ ᠪ\u{180B}",
        "tabs\tand\r\nlines\u{85}",
        "\u{212B}ngström, 5\u{212A}",
    ] {
        let normalised = Normaliser::default().apply(text);
        assert_eq!(normalised.text(), text);
        assert!(normalised.changes().is_empty());
        assert!(matches!(normalised.text, Cow::Borrowed(_)));
    }
}

#[test]
fn what_nobody_sees_goes() {
    for (text, clean) in [
        ("w\u{200B}a\u{200C}t\u{200D}e\u{2060}r\u{FEFF}", "water"),
        ("hy\u{AD}phen \u{202E}bidi\u{202C} \u{200E}mark", "hyphen bidi mark"),
        ("a\u{FE0F}b\u{E0101}c\u{E0041}\u{E007F}", "abc"),
        ("smuggled 😀\u{E0101}\u{E0102}\u{FE01}", "smuggled 😀"),
        ("bell\u{7}\u{1B}[0m\0", "bell[0m"),
        ("क\u{200D}म\u{200C}ल", "कमल"),             // no virama
        ("دا\u{200C}رد", "دارد"),                   // alef does not join anyway
        ("می\u{200C}\u{200C}رود", "می\u{200C}رود"), // once is enough
        ("1\u{FE0F}2", "12"),
        ("🏴\u{E0067}\u{E0062}", "🏴"), // no end
        ("cafe\u{301} e\u{323}\u{302} \u{1112}\u{1161}\u{11AB}", "café ệ 한"),
    ] {
        assert_eq!(default(text), clean, "{text:?}");
    }
    let changes = Normaliser::default().apply("a\u{200B}b\u{200B}\u{AD}e\u{301}").changes();
    assert_eq!(changes, Changes { zero_width: 2, soft_hyphens: 1, composed: 1, ..Changes::default() });
    assert_eq!(serde_json::to_string(&changes).unwrap(), r#"{"zero_width":2,"soft_hyphens":1,"composed":1}"#);
}

#[test]
fn forms() {
    let nfc = Normaliser { form: Form::Nfc, ..Normaliser::default() };
    assert_eq!(nfc.apply("\u{212B} \u{95E} e\u{301}\u{200B}").text(), "Å \u{92B}\u{93C} é");
    assert_eq!(Normaliser::none().apply("e\u{301}\u{200B}").text(), "e\u{301}\u{200B}");
}

#[test]
fn typographic_characters_have_plain_forms() {
    let plain = |typography| Normaliser { typography, ..Normaliser::default() };
    let original = "“It’s”\u{A0}10\u{202F}000—or\u{3000}so…\r\n1–2\r3\u{2028}4";
    let spaces = plain(Typography::PlainSpaces).apply(original);
    assert_eq!(spaces.text(), "“It’s” 10 000—or so…\n1–2\n3\n4");
    assert_eq!(spaces.changes(), Changes { spaces: 3, line_ends: 3, ..Changes::default() });
    let all = plain(Typography::Plain).apply(original);
    assert_eq!(all.text(), "\"It's\" 10 000--or so...\n1-2\n3\n4");
    assert_eq!((all.changes().quotes, all.changes().dashes, all.changes().ellipses), (3, 2, 1));
    let at = all.text().find("\n1").unwrap();
    assert_eq!(&original[all.original_range(at..at + 2)], "\n1");
    assert_eq!(&original[all.original_range(at - 3..at)], "…");
    assert_eq!(default(original), original);
    assert_eq!(Normaliser::default().forms().len(), 3);
    // A request for one form gets that form.
    for alone in [Normaliser::none(), plain(Typography::Plain)] {
        assert_eq!(alone.forms(), [alone]);
    }
}

#[test]
fn look_alikes_in_latin_words() {
    let fold = Normaliser { fold_confusables: true, ..Normaliser::default() };
    for (text, clean) in [
        ("thе wаtеr оf thе rivеr", "the water of the river"),
        ("а сосо", "a coco"),
        ("Ꭰ ｗａｔｅｒ １２ 𝐛𝐨𝐥𝐝 a\u{2009}b\u{A0}c", "Ꭰ water 12 bold a b c"),
        ("Он сказал а hello", "Он сказал а hello"),
        ("Он сказал hеllo", "Он сказал hello"),
        ("η ταχύτητα ο v", "η ταχύτητα ο v"),
        ("α and β", "α and β"),
        ("東京、ＯＫ。", "東京、OK。"),
    ] {
        let normalised = fold.apply(text);
        assert_eq!(normalised.text(), clean);
    }
    assert_eq!(default("thе"), "thе");
}

#[test]
fn html_as_it_is_read() {
    let strip = Normaliser { strip: Some(Markup::Html), ..Normaliser::default() };
    for (text, clean) in [
        (
            "<html><head><title>t</title></head><body>\n<p>One <b>bold</b>\n word.</p>\n\n<p class=\"a>b\">Two</p></body></html>",
            "One bold word.\n\nTwo",
        ),
        ("a<br>b<ul><li>c</li>\n<li>d</li></ul>", "a\nb\n\nc\nd"),
        (
            "<!-- no --><script>if (a</b) {}</script>x &lt; y &amp;&nbsp;z &#233;&#x2014;&unknown; AT&T",
            "x < y & z é—&unknown; AT&T",
        ),
        ("1 < 2 and <3 and a<b", "1 < 2 and <3 and a<b"),
        ("<pre>a\n  b</pre>", "a\n  b"),
        ("plain", "plain"),
        ("<unclosed", "<unclosed"),
    ] {
        assert_eq!(strip.apply(text).text(), clean);
    }
}

#[test]
fn markdown_as_it_is_read() {
    let strip = Normaliser { strip: Some(Markup::Markdown), ..Normaliser::default() };
    for (text, clean) in [
        (
            "# Head\n\n**bold** and *it* and _it_ in snake_case_name\n",
            "Head\n\nbold and it and it in snake_case_name\n",
        ),
        ("> quote\n> - item\n* item\n1. one\n", "quote\nitem\nitem\n1. one\n"),
        ("see [the *page*](http://x/y_z) and ![pic](p.png), a[0] (x)", "see the page and pic, a[0] (x)"),
        ("`code` 2 * 3 \\* 4 ~~gone~~ ~5", "code 2 * 3 * 4 gone ~5"),
        ("a\n```rust\nlet x = *y;\n```\nb", "a\nlet x = *y;\nb"),
    ] {
        assert_eq!(strip.apply(text).text(), clean);
    }
}

#[test]
fn bytes_have_a_defined_meaning() {
    let normaliser = Normaliser::none();
    let text = normaliser.apply_bytes(b"\xEF\xBB\xBFa\xFFb\xE2\x82c\xEF\xBB\xBF");
    assert_eq!(text.text(), "a\u{FFFD}b\u{FFFD}c\u{FEFF}");
    assert_eq!(text.changes().invalid_utf8, 2);
    assert_eq!(text.original_range(0..1), 3..4);
    assert_eq!(text.original_range(1..4), 4..5);
    assert_eq!(text.original_range(5..8), 6..8);
    assert_eq!(text.original_range(8..9), 8..9);
    assert_eq!(text.original_range(0..9), 3..9);
    assert_eq!(normaliser.apply_bytes(b"").text(), "");
}

#[test]
fn ranges_through_several_steps() {
    let strip = Normaliser { strip: Some(Markup::Html), ..Normaliser::default() };
    let original = "<p>caf&#101;\u{200B}&#769;</p><p>x</p>";
    let text = strip.apply(original);
    assert_eq!(text.text(), "café\n\nx");
    assert_eq!(&original[text.original_range(3..5)], "&#101;\u{200B}&#769;");
    assert_eq!(&original[text.original_range(5..7)], "</p><p>");
    assert_eq!(&original[text.original_range(7..8)], "x");
    assert_eq!(&original[text.original_range(0..2)], "ca");
    assert_eq!(text.original_range(7..999), 28..29);
}

/// Returns texts in which every rule has something to do.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z ]{0,6}",
        "[\u{200B}-\u{200F}\u{2060}\u{FEFF}\u{AD}\u{FE0E}\u{FE0F}\u{E0100}\u{E0061}\u{E007F}\u{202E}]{1,3}",
        "[\u{300}-\u{304}\u{323}\u{93C}\u{94D}\u{654}\u{670}\u{1161}\u{11A8}]{1,3}",
        "[कषर\u{95C}\u{92B}هیدا\u{6C1}\u{1100}가กក]{1,3}",
        "[❤👩🏽🏴🔥1#\u{20E3}☠]{1,3}",
        "[аеоеспЯΑω１𝐛]{1,3}",
        any::<char>().prop_map(String::from),
        "[\n\t\u{0}\u{85}\u{A0}]",
    ];
    proptest::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
}

fn markup() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z ]{0,6}",
        "[<>/&;#\"'!*_`~\\[\\]()\n -]{1,4}",
        Just("<p>".to_owned()),
        Just("</p>".to_owned()),
        Just("<script>".to_owned()),
        Just("</script>".to_owned()),
        Just("&amp;".to_owned()),
        Just("<br/>".to_owned()),
        Just("](x)".to_owned()),
        Just("\n```\n".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
}

/// Checks that the characters' ranges lie in order and on character boundaries. If parts of the text were only removed,
/// each range must be the character itself.
fn check(original: &str, text: &Normalised<'_>, only_removed: bool) -> Result<(), TestCaseError> {
    let (mut start, mut end) = (0, 0);
    for (at, c) in text.text().char_indices() {
        let range = text.original_range(at..at + c.len_utf8());
        prop_assert!(start <= range.start && end <= range.end && range.start <= range.end, "{range:?}");
        let piece = original.get(range.clone());
        prop_assert!(piece.is_some_and(|piece| !only_removed || piece == c.to_string()), "{piece:?} {c:?}");
        (start, end) = (range.start, range.end);
    }
    prop_assert!(end <= original.len());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn twice_is_once_and_ranges_lead_back(text in text()) {
        for normaliser in [
            Normaliser::default(),
            Normaliser { form: Form::Nfc, ..Normaliser::default() },
            Normaliser { fold_confusables: true, ..Normaliser::default() },
            Normaliser { typography: Typography::Plain, form: Form::None, ..Normaliser::default() },
        ] {
            let once = normaliser.apply(&text);
            let twice = normaliser.apply(once.text());
            prop_assert_eq!(once.text(), twice.text());
            prop_assert!(twice.changes().is_empty());
            prop_assert_eq!(once.changes().is_empty(), once.text() == text);
            let changes = once.changes();
            let removed = changes.composed + changes.confusables + changes.spaces + changes.line_ends == 0;
            check(&text, &once, removed)?;
        }
    }

    #[test]
    fn ranges_lead_back_through_markup(text in markup()) {
        for strip in [Markup::Html, Markup::Markdown] {
            let normaliser = Normaliser {
                strip: Some(strip),
                form: Form::Nfc,
                fold_confusables: true,
                typography: Typography::Plain,
            };
            check(&text, &normaliser.apply(&text), false)?;
        }
    }

    #[test]
    fn invisible_noise_in_latin_text_is_undone(
        text in "[a-zA-Z ,.é\n]{0,40}",
        noise in proptest::collection::vec((0..41_usize, "[\u{200B}-\u{200F}\u{2060}\u{FE0F}\u{AD}\u{E0041}\u{FEFF}]"), 0..30),
    ) {
        let mut chars: Vec<String> = text.chars().map(String::from).collect();
        for (at, mark) in noise {
            let at = at.min(chars.len());
            chars.insert(at, mark);
        }
        prop_assert_eq!(default(&chars.concat()), text);
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let normaliser = Normaliser { fold_confusables: true, strip: Some(Markup::Html), ..Normaliser::default() };
        let text = normaliser.apply_bytes(&bytes);
        let range = text.original_range(0..text.text().len());
        prop_assert!(range.end <= bytes.len());
        let plain = Normaliser::none().apply_bytes(&bytes);
        let lossy = String::from_utf8_lossy(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes));
        prop_assert_eq!(plain.text(), lossy);
    }
}
