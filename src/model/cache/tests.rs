//! Compares caches whose positions were taken back with sequences that never had them, bit by bit, over the ring's end
//! and beyond.

use super::{Cache, TAKE_BACK};
use crate::kernels::Format;
use crate::model::{Config, Gemma, LayerKind, random};

/// Returns models that keep keys and values in bf16 and in f32, with rings of several sizes.
fn models() -> Vec<Gemma> {
    let with_window = |window: usize| -> Config {
        let mut config = random::config();
        for kind in &mut config.layers {
            if let LayerKind::Local { window: size } = kind {
                *size = window;
            }
        }
        // Random weights give small scores; these are large enough for a wrong key to show.
        (config.query_pre_attn_scalar, config.attn_softcap) = (0.05, Some(0.5));
        config
    };
    let packed = |window| random::model(with_window(window), Format::Q8_0);
    vec![packed(64), packed(5), packed(64).unrounded(), packed(24).unrounded()]
}

fn ids(start: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (start + i * 37) % 2048).collect()
}

/// Returns the bits of the logits after each of the ids, fed one by one.
fn step(model: &Gemma, cache: &mut Cache, ids: &[u32]) -> Vec<Vec<u32>> {
    let mut bits = Vec::new();
    for id in ids {
        let logits = model.step(&[*id], &mut [cache]).unwrap().capped().unwrap();
        bits.push(
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().map(|x| x.to_bits()).collect(),
        );
    }
    bits
}

fn read(model: &Gemma, prompt: &[u32]) -> Cache {
    let mut cache = model.new_cache(1);
    model.read(prompt, &mut cache, 0).unwrap();
    cache
}

#[test]
fn what_follows_positions_that_were_taken_back_is_as_if_they_had_never_been() {
    for (index, model) in models().iter().enumerate() {
        for prompt in [3, 50, 64, 65, 140] {
            let prompt = ids(1, prompt);
            let want = step(model, &mut read(model, &prompt), &ids(7, 24));
            for (taken, in_one_piece) in
                [(1, false), (16, false), (TAKE_BACK, false), (30, true), (150, true)]
            {
                if in_one_piece && taken > TAKE_BACK && prompt.len() > 3 {
                    continue;
                }
                let mut cache = read(model, &prompt);
                if in_one_piece {
                    model.read(&ids(9, taken), &mut cache, 0).unwrap();
                } else {
                    step(model, &mut cache, &ids(9, taken));
                }
                let name = format!("model {index}, {} tokens, {taken} taken back", prompt.len());
                let back = cache.truncate(prompt.len()).unwrap();
                if taken > TAKE_BACK {
                    assert!(!back, "{name}");
                    continue;
                }
                assert!(back, "{name}");
                // Twice: the second time, some of what was set aside has been written back.
                assert!(step(model, &mut cache, &ids(7, 24)) == want, "{name}");
                assert!(cache.truncate(prompt.len()).unwrap(), "{name}, again");
                assert!(step(model, &mut cache, &ids(7, 24)) == want, "{name}, again");
                // Nothing that was taken back the first time may come up again.
                assert!(cache.truncate(prompt.len() + 20).unwrap(), "{name}, in part");
                assert!(step(model, &mut cache, &ids(7, 24)[20..]) == want[20..], "{name}, in part");
            }
        }
    }
}

#[test]
fn what_cannot_be_taken_back_is_left_as_it_is() {
    for model in &models() {
        let mut cache = read(model, &ids(1, 300));
        let mut same = cache.fork().unwrap();
        assert!(!cache.truncate(300 - TAKE_BACK - 60).unwrap());
        assert!(!cache.truncate(301).unwrap());
        assert!(cache.fork_at(100).unwrap().is_none());
        assert_eq!(cache.len(), 300);
        assert!(step(model, &mut cache, &ids(7, 3)) == step(model, &mut same, &ids(7, 3)));
    }
}

#[test]
fn a_copy_of_the_first_positions_shares_nothing() {
    for model in &models() {
        for (all, len) in [(60, 20), (60, 60), (70, 64), (200, 200), (200, 140)] {
            let prompt = ids(1, all);
            let mut cache = read(model, &prompt[..len]);
            let want = step(model, &mut cache.fork().unwrap(), &ids(7, 70));
            model.read(&prompt[len..], &mut cache, 0).err();
            let mut copy = cache.fork_at(len).unwrap().unwrap();
            let mut other = cache.fork_at(len).unwrap().unwrap();
            step(model, &mut other, &ids(11, 70));
            step(model, &mut cache, &ids(13, 70));
            assert!(step(model, &mut copy, &ids(7, 70)) == want, "{len} of {all}");
        }
    }
}

/// Compares bit by bit, except on processors with a matrix unit, whose tiles begin where a query's visible positions
/// begin.
#[test]
fn a_packed_model_reads_a_prompt_in_slices_as_it_reads_it_whole() {
    if matches!(crate::kernels::Activations::new(), crate::kernels::Activations::Tiles(_)) {
        return;
    }
    for format in [Format::Q8_0, Format::Q4_0, Format::BF16] {
        let model = random::model(random::config(), format);
        if model.packed.is_none() {
            return; // This processor has no kernels for panels.
        }
        // If the second prompt is read whole, its last token is a separate chunk.
        for prompt in [333, 257].map(|len| ids(1, len)) {
            let mut cache = model.new_cache(1);
            let whole = model.forward(&[&prompt], &mut cache).unwrap().to_vec2::<f32>().unwrap();
            let after = step(&model, &mut cache, &ids(7, 5));
            for slice in [16, 48, 64, 256] {
                let name = format!("{} tokens, {} by {slice}", prompt.len(), format.name());
                let mut cache = model.new_cache(1);
                let last = (prompt.len() - 16) / slice * slice;
                for part in prompt[..last].chunks(slice) {
                    assert!(model.read(part, &mut cache, 0).unwrap().is_none(), "{name}");
                }
                let logits = model.read(&prompt[last..], &mut cache, 1).unwrap().unwrap();
                assert!(logits.capped().unwrap().to_vec2::<f32>().unwrap() == whole, "{name}");
                assert!(step(&model, &mut cache, &ids(7, 5)) == after, "{name}");
            }
        }
    }
}

#[test]
fn logits_are_to_be_had_of_any_number_of_last_positions() {
    let model = random::model(random::config(), Format::Q8_0);
    let prompt = ids(1, 300);
    let rows = |wanted| {
        let mut cache = model.new_cache(1);
        model.read(&prompt, &mut cache, wanted).unwrap().unwrap().capped().unwrap().to_vec2::<f32>().unwrap()
    };
    // These cross a border of chunks, which is at 256.
    let many = rows(60);
    assert_eq!(many.len(), 60);
    assert_eq!(rows(3), many[57..]);
    let mut cache = model.new_cache(1);
    assert_eq!(model.forward(&[&prompt[..270]], &mut cache).unwrap().to_vec2::<f32>().unwrap()[0], many[29]);
    assert!(model.read(&prompt[..5], &mut model.new_cache(1), 6).is_err());
}
