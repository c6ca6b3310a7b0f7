//! `wmgen demo`: the whole idea at a glance.

mod columns;
mod page;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use rand::Rng;
use wmdetect::Detector;
use wmdetect::atomic_file;
use wmdetect::counted::counted;
use wmdetect::render::{html, terminal};
use wmdetect::report::Explanation;
use wmdetect::scheme::{Key, Preset};
use wmdetect::shell::OneLine;
use wmdetect::shell::outputs::{Kind, Outputs};
use wmdetect::statistics::PValue;
use wmgen::engine::Draft;
use wmgen::respond::{Event, KeyMark, Options};
use wmgen::sample::Sampling;
use wmgen::text::Prompt;

use super::args::{ColorArg, DemoArgs};
use super::model::Loaded;
use super::{keys, print, say};

/// One of the two texts, and the detector's findings.
struct Shown {
    heading: &'static str,
    text: String,
    explanation: Explanation,
}

pub(super) fn run(args: &DemoArgs) -> Result<()> {
    let tokenizer = args.model.open_tokenizer()?;
    let key = match &args.key {
        Some(path) => keys::read(path)?,
        None => Key::generate(Preset::default())?.with_tokenizer(Some(tokenizer.binding())),
    };
    keys::check_binding(&key, &tokenizer)?;
    let mut outputs = Outputs::new(args.force).reads(&args.key).reads(args.model.paths());
    let page_file = args.html.as_deref().map(|path| outputs.open(path, Kind::PAGE)).transpose()?;
    let loaded = args.model.load(tokenizer)?;
    // Both texts use the same seed, so that only the mark differs.
    let seed = args.seed.unwrap_or_else(wmgen::sample::random_seed);
    let start = Instant::now();
    let marked = continued(args, &loaded, Some(&key), seed)?;
    let unmarked = continued(args, &loaded, None, seed)?;
    let seconds = start.elapsed().as_secs_f64();

    let folder = Folder::create()?;
    let key_path = match &args.key {
        Some(path) => path.clone(),
        None => folder.key(&key)?,
    };
    let marked_path = folder.text("marked.txt", &marked)?;
    folder.text("unmarked.txt", &unmarked)?;

    let whose = if args.key.is_some() { format!("key {}", key.id()) } else { "a new key".into() };
    let intro = format!(
        "{} continued one prompt twice, with the mark of {whose} and without ({seconds:.1} s). Then the detector read both \
         texts, knowing the key but not how they were made.",
        OneLine(&loaded.name)
    );
    let detector = Detector::new(key, loaded.tokenizer)?;
    let shown = [("with the mark", marked), ("without", unmarked)].map(|(heading, text)| {
        detector.explain(&text).map(|explanation| Shown { heading, text, explanation })
    });
    let [marked, unmarked] = shown;
    let shown = [marked?, unmarked?];
    let commands = commands(args, &key_path, &marked_path);

    if let Some(file) = page_file {
        let columns = shown.each_ref().map(|shown| page::Column {
            heading: shown.heading,
            text: &shown.text,
            explanation: &shown.explanation,
        });
        let page = page::comparison("Marked and unmarked", &intro, &args.prompt, &columns, &commands);
        file.finish(page.as_bytes())?;
    }
    let colours = match args.color {
        ColorArg::Always => true,
        ColorArg::Never => false,
        ColorArg::Auto => terminal::colours_are_welcome(),
    };
    print(for_people(args, &intro, &shown, &commands, colours).as_bytes())?;
    if let Some(path) = &args.html {
        say(&format!("the page is {}", path.display()));
    }
    folder.keep();
    Ok(())
}

/// Returns the prompt's continuation, as `wmgen generate` writes it by default.
fn continued(args: &DemoArgs, loaded: &Loaded, key: Option<&Key>, seed: u64) -> Result<String> {
    let mut responder = loaded.responder(1, Draft::None, 0);
    let options = Options {
        max_tokens: args.max_tokens,
        sampling: Sampling { seed, ..Sampling::default() },
        mark: key.map(KeyMark::new).transpose()?,
        ..Options::default()
    };
    responder.submit(&Prompt::Text(args.prompt.clone()), &options)?;
    let mut text = String::new();
    for (_, event) in responder {
        match event {
            Event::Piece(piece) => text.push_str(&piece.text),
            Event::Failed(error) => return Err(error.into()),
            Event::Finished(_) => {}
        }
    }
    Ok(text)
}

/// Returns the commands to try next, with the paths of this run.
fn commands(args: &DemoArgs, key: &Path, marked: &Path) -> String {
    // Under `cargo run` the programs are not on the path.
    let (wmgen, wmdetect) = if std::env::var_os("CARGO").is_some() {
        ("cargo run --release --", "cargo run --release -p wmdetect --")
    } else {
        ("wmgen", "wmdetect")
    };
    let (key, marked) = (quoted(&key.display().to_string()), quoted(&marked.display().to_string()));
    let flag = |flag: &str| {
        args.model.model.as_deref().map_or(String::new(), |model| format!(" {flag} {}", quoted(model)))
    };
    let (model, tokenizer) = (flag("--model"), flag("--tokenizer"));
    format!(
        "{wmdetect} score {marked} --key {key}{tokenizer}\n\
         {wmdetect} score {marked} --key {key}{tokenizer} --view --html report.html\n\
         {wmgen} generate --key {key}{model} --prompt \"Once upon a time\" > more.txt\n\
         {wmgen} verify {marked} --key {key}{model}\n\
         {wmgen} --help\n"
    )
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+:@".contains(c);
    if word.chars().all(plain) {
        return word.to_owned();
    }
    if OneLine(word).to_string() == word {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    // Characters that a terminal would obey are written as byte numbers.
    let byte = |byte: u8| match byte {
        b'\'' | b'\\' => format!("\\{}", char::from(byte)),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    format!("$'{}'", word.bytes().map(byte).collect::<String>())
}

fn for_people(args: &DemoArgs, intro: &str, shown: &[Shown; 2], commands: &str, colours: bool) -> String {
    let layout = columns::Layout::for_terminal();
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "\n{}", layout.paragraph(intro));
    if !args.prompt.is_empty() {
        let _ = writeln!(out, "\n{}", layout.paragraph(&format!("\"{} …\"", OneLine(&args.prompt))));
    }
    out.push('\n');
    let heading = |shown: &Shown| shown.heading.to_uppercase();
    layout.beside(&mut out, shown.each_ref().map(|shown| columns::plain(&heading(shown))), colours);
    layout.rule(&mut out);
    let text = |shown: &Shown| terminal::runs(Some(shown.text.as_bytes()), &shown.explanation);
    layout.beside(&mut out, shown.each_ref().map(text), colours);
    layout.rule(&mut out);
    layout.beside(&mut out, shown.each_ref().map(|shown| columns::plain(&verdict(shown))), colours);
    let _ = writeln!(out, "\n{}", terminal::legend(colours));
    for shown in shown {
        for warning in &shown.explanation.report.warnings {
            let _ = writeln!(out, "warning ({}): {}", shown.heading, OneLine(&warning.to_string()));
        }
    }
    let _ = writeln!(out, "Try next (the folder is yours to delete):\n");
    for command in commands.lines() {
        let _ = writeln!(out, "  {command}");
    }
    out
}

fn verdict(shown: &Shown) -> String {
    let report = &shown.explanation.report;
    let p = report
        .log10_p
        .map_or(String::new(), |log10| format!(", p = {}", PValue { log10, kind: report.p_kind }));
    format!(
        "{}{p}\n{}\n{} of {} count.",
        report.verdict,
        html::sentence(report),
        report.scored_tokens,
        counted(report.tokens, "token")
    )
}

/// A folder of this run among the temporary files. It is removed unless the run succeeds.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn create() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("wmgen-demo-{:08x}", rand::rng().random::<u32>()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    fn key(&self, key: &Key) -> Result<PathBuf> {
        let path = self.path.join("k.bin");
        key.write(&path, false)?;
        Ok(path)
    }

    fn text(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        atomic_file::write(&path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // If it cannot be removed, the error that ended the run matters more.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
