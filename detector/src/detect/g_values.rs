//! The values themselves, to check this implementation against another.

use super::reading::Offsets;
use super::score::{channel, forms_tried};
use super::{DetectError, Detector, Input};
use crate::report::GValues;
use crate::scheme::{
    ContextLens, Evidence, EvidenceStream, Piece, Share, TextGValues, TextGreens, TextUniforms,
};

impl Detector {
    /// Returns the token ids of the text as it was given, the first of the forms that the other questions look at.
    ///
    /// # Errors
    /// Returns an error if [`score`](Self::score) would, or if the input is a reader.
    pub fn tokens<'a>(&self, input: impl Into<Input<'a>>) -> Result<Vec<u32>, DetectError> {
        Ok(self.whole(input, "token ids", Offsets::Later)?.into_given().ids.into_owned())
    }

    /// Returns the token ids of each form of the text that [`score`](Self::score) tries, at least one. The form that
    /// was given comes first.
    ///
    /// # Errors
    /// Returns an error if [`score`](Self::score) would, or if the input is a reader.
    pub fn token_forms<'a>(&self, input: impl Into<Input<'a>>) -> Result<Vec<Vec<u32>>, DetectError> {
        let forms = self.whole(input, "token ids", Offsets::Later)?;
        Ok(forms.0.into_iter().map(|tokens| tokens.ids.into_owned()).collect())
    }

    /// Returns the values and the mask of a text under the first key, in the first form, which is the text as it was
    /// given. The channel is the [known one](Self::with_channel) or else the first.
    ///
    /// # Errors
    /// Returns an error if [`score`](Self::score) would, or if the input is a reader.
    pub fn g_values<'a>(&self, input: impl Into<Input<'a>>) -> Result<GValues, DetectError> {
        let forms = self.whole(input, "g-values", Offsets::Later)?;
        let number = forms_tried(forms.0.len());
        let tokens = forms.into_given();
        let entry = &self.keys[0];
        let prf = entry.channels(self.channel).next().unwrap_or_else(|| entry.prf.clone());
        let piece = Piece::whole(prf.scheme().context_rule(), &tokens.prompt, &tokens.ids);
        let evidence = EvidenceStream::new(&prf).push(&piece);
        let digit = |i: usize| char::from_digit(piece.context_len(i) as u32, 10).unwrap_or('0');
        let (context_lens, shares) = match (&piece.context_lens, evidence.layers()) {
            (ContextLens::Each(_), Some(values)) => {
                let thirds = |share: &Share| char::from(b'0' + share.thirds());
                let lens = (0..values.g.len()).map(digit).collect();
                (Some(lens), Some(values.shares.iter().map(thirds).collect()))
            }
            _ => (None, None),
        };
        let bit = |bit: bool| if bit { '1' } else { '0' };
        let mut values = GValues {
            first: evidence.first() as u32,
            channel: channel(&prf),
            context_lens,
            shares,
            ngram_len: prf.scheme().ngram_len() as u32,
            depth: None,
            g_bits: None,
            uniforms: None,
            second_uniforms: None,
            green: None,
            mask: evidence.reference_mask().iter().copied().map(bit).collect(),
            forms: number,
            normalisation: tokens.changes().filter(|changes| !changes.is_empty()),
        };
        match &evidence {
            Evidence::Layers(TextGValues { depth, g, .. }) => {
                values.depth = Some(*depth as u32);
                values.g_bits = Some(g.iter().map(|g| g.to_string(*depth)).collect());
            }
            Evidence::Green(TextGreens { green, .. }) => {
                values.green = Some(green.iter().map(|g| bit(g.0 == 1)).collect());
            }
            Evidence::Uniform(TextUniforms { law, numbers, .. }) => {
                let all = |which: usize| numbers.iter().map(|&g| law.read(g)[which]).collect();
                values.uniforms = all(0);
                values.second_uniforms = law.second_share.and_then(|_| all(1));
            }
        }
        Ok(values)
    }
}
