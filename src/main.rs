//! The program `wmgen`; see [`cli`].

mod cli;
mod draft_args;
#[cfg(feature = "serve")]
mod serve;

fn main() -> std::process::ExitCode {
    cli::run()
}
