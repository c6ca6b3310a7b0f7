//! The keys that a command tries.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// The channel of a key with several channels.
#[derive(Args, Debug)]
pub(crate) struct ChannelArgs {
    /// Channel of the texts, from their receipts; without it all channels of a key are tried, and p is corrected for
    /// their number
    #[arg(long, value_name = "N")]
    pub channel: Option<u16>,
}

/// One key.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// Key file [default: the path in the variable WMDETECT_KEY, or ./k.bin]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// One key, or a directory of keys.
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    #[command(flatten)]
    pub one: KeyArgs,
    /// Try every key file in this directory; p is corrected for their number
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    pub keyring: Option<PathBuf>,
}

/// Many keys: files, or derived from one.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("keys").required(true).args(["keyring", "master"]))]
#[command(group = ArgGroup::new("which").args(["label", "labels", "label_range"]))]
pub(crate) struct ManyKeysArgs {
    /// Directory of the key files to try
    #[arg(long, value_name = "DIR")]
    pub keyring: Option<PathBuf>,
    /// Master key file; the keys to try are derived from it for the given labels
    #[arg(long, value_name = "FILE", requires = "which")]
    pub master: Option<PathBuf>,
    /// Label of a derived key; may be repeated. Give all labels that could have been used, since p is corrected for
    /// their number
    #[arg(long, value_name = "LABEL", requires = "master", conflicts_with = "keyring")]
    pub label: Vec<String>,
    /// File of labels, one per line. Give all labels that could have been used, since p is corrected for their number
    #[arg(long, value_name = "FILE", requires = "master", conflicts_with = "keyring")]
    pub labels: Option<PathBuf>,
    /// Labels made of a prefix and a number, such as tenant-:0-9999. If the first number has leading zeros, as in
    /// tenant-:0000-9999, all numbers have its width
    #[arg(long, value_name = "PREFIX:FROM-TO", requires = "master", conflicts_with = "keyring")]
    pub label_range: Option<String>,
}
