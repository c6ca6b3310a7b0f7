//! `wmgen quantize`.

use anyhow::Result;
use wmdetect::shell::outputs::{Kind, Outputs};
use wmgen::model::Format;
use wmgen::quantize::{self, Mixture};

use super::args::{FormatArg, QuantizeArgs};
use super::{model, say};

pub(super) fn run(args: &QuantizeArgs) -> Result<()> {
    let dir = model::locate(&args.model)?;
    Outputs::new(args.force).reads([&dir]).check(&args.output, Kind::MODEL)?;
    let summary = quantize::quantize(&dir, &args.output, args.format.mixture())?;
    let formats: Vec<String> =
        summary.formats.iter().map(|(name, tensors)| format!("{name} ({tensors})")).collect();
    say(&format!(
        "{}: {:.2} MB, {:.2} million parameters; {}",
        args.output.display(),
        summary.bytes as f64 / 1e6,
        summary.parameters as f64 / 1e6,
        formats.join(", ")
    ));
    Ok(())
}

impl FormatArg {
    pub(super) fn mixture(self) -> Mixture {
        Mixture::One(match self {
            Self::Q4KM => return Mixture::Q4KM,
            Self::F32 => Format::F32,
            Self::F16 => Format::F16,
            Self::Bf16 => Format::BF16,
            Self::Q8_0 => Format::Q8_0,
            Self::Q6K => Format::Q6K,
            Self::Q5K => Format::Q5K,
            Self::Q4K => Format::Q4K,
            Self::Q3K => Format::Q3K,
            Self::Q2K => Format::Q2K,
            Self::Q5_1 => Format::Q5_1,
            Self::Q5_0 => Format::Q5_0,
            Self::Q4_1 => Format::Q4_1,
            Self::Q4_0 => Format::Q4_0,
        })
    }
}
