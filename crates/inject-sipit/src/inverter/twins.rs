//! Tokens whose embedding is nearly that of another token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    collisions::{distance, norm},
    error::InvertError,
    sources::most_likely,
    tensors::read,
    tuning::{TWIN_WITHIN, TWINS_COMPARED},
};

use super::Inverter;

/// Whether a token has a twin, for the tokens that were looked up.
pub(super) type KnownTwins = Arc<Mutex<HashMap<u32, bool>>>;

impl Inverter<'_> {
    /// Returns whether the embedding of another token is nearly that of this one. Models have thousands of such tokens, because the rarest
    /// are hardly trained, and a calibration meets few of them: its margins are those of the others.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the device fails.
    pub(super) fn has_twin(&self, token: u32) -> Result<bool, InvertError> {
        if let Some(&known) = self.twins.lock().unwrap_or_else(PoisonError::into_inner).get(&token) {
            return Ok(known);
        }
        let nearness = self.vocabulary.nearness(self.decoder.embeddings_of(&[token]))?;
        let nearness: Vec<f64> = nearness.into_iter().map(f64::from).collect();
        let others = most_likely(&nearness, TWINS_COMPARED + 1).into_iter().filter(|&other| other != token);
        let ids: Vec<u32> = std::iter::once(token).chain(others).collect();
        let rows = read(self.decoder.embeddings_of(&ids))?;
        let (own, others) = rows.split_at(rows.len() / ids.len());
        let within = TWIN_WITHIN * norm(own);
        let has_twin = others.chunks(own.len()).any(|other| distance(other, own) <= within);
        self.twins.lock().unwrap_or_else(PoisonError::into_inner).insert(token, has_twin);
        Ok(has_twin)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use inject_testing::models::model;

    use super::*;
    use crate::{
        models::{Matrix, Tap},
        settings::Settings,
    };

    #[test]
    fn a_token_with_the_embedding_of_another_has_a_twin_and_others_have_none() {
        // Token 12 has the embedding of token 11.
        let decoder =
            model("gpt2", &Device::flex()).decoder.map_matrices(&mut |matrix, values| match matrix {
                Matrix::Embedding => {
                    let [rows, _] = values.dims();
                    let (below, twin) = (values.clone().narrow(0, 0, 12), values.clone().narrow(0, 11, 1));
                    Tensor::cat(vec![below, twin, values.narrow(0, 13, rows - 13)], 0)
                }
                _ => values,
            });
        let inverter = Inverter::new(&decoder, Tap::Block(1), Settings::new()).unwrap();
        let twins: Vec<u32> = (0..20).filter(|&token| inverter.has_twin(token).unwrap()).collect();
        assert_eq!(twins, [11, 12]);
        assert!(inverter.has_twin(11).unwrap() && !inverter.has_twin(3).unwrap());
    }
}
