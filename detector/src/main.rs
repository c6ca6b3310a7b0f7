//! The program `wmdetect`; see [`cli`].

mod audit;
mod cli;
#[cfg(feature = "serve")]
mod serve;

fn main() -> std::process::ExitCode {
    cli::run()
}
