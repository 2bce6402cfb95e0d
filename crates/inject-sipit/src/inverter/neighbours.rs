//! Tokens whose embeddings are near that of another token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use burn::tensor::DType;

use crate::{
    collisions::{distance, norm},
    error::InvertError,
    sources::most_likely,
    tensors::{read, read_f32},
    tuning::{LENGTHS_TOGETHER, NEIGHBOURS_TESTED, TWIN_WITHIN, TWINS_COMPARED},
};

use super::Inverter;

/// The neighbours of each token that was looked up.
pub(super) type KnownNeighbours = Arc<Mutex<HashMap<u32, Arc<Neighbours>>>>;

/// The tokens that may be the right one if the one that fits is not.
#[derive(Debug)]
pub(super) struct Neighbours {
    /// The tokens whose embeddings are nearly that of this one. Models have thousands of such tokens, because the rarest are hardly
    /// trained, and a calibration meets few of them: its margins are those of the others.
    pub(super) twins: Vec<u32>,
    /// The tokens whose embeddings have the nearest directions, seen from the mean.
    pub(super) nearest: Vec<u32>,
}

impl Inverter<'_> {
    /// Returns the neighbours of a token.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the device fails.
    pub(super) fn neighbours(&self, token: u32) -> Result<Arc<Neighbours>, InvertError> {
        if let Some(known) = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).get(&token) {
            return Ok(known.clone());
        }
        let nearness = self.vocabulary.nearness_by_both(self.decoder.embeddings_of(&[token]))?;
        let [nearest, closest] = nearness.map(|nearness| {
            let nearness: Vec<f64> = nearness.into_iter().map(f64::from).collect();
            let nearest = most_likely(&nearness, NEIGHBOURS_TESTED + 1);
            nearest.into_iter().filter(|&other| other != token).collect::<Vec<u32>>()
        });
        // By the cosine, embeddings along one line are all equally near, and the shortest of many directions are so by the distance.
        let compared = [&nearest, &closest].map(|near| &near[..near.len().min(TWINS_COMPARED)]).concat();
        let twins = match self.has_twin(token, &compared)? {
            true => self.all_twins(token)?,
            false => Vec::new(),
        };
        let found = Arc::new(Neighbours { twins, nearest });
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).insert(token, found.clone());
        Ok(found)
    }

    /// Returns whether one of these tokens is a twin of another. This takes a hundredth of the time of a look at all.
    fn has_twin(&self, token: u32, others: &[u32]) -> Result<bool, InvertError> {
        let rows = read(self.decoder.embeddings_of(&[&[token][..], others].concat()))?;
        let (own, others) = rows.split_at(rows.len() / (1 + others.len()));
        let within = TWIN_WITHIN * norm(own);
        Ok(others.chunks(own.len()).any(|other| distance(other, own) <= within))
    }

    /// Compares a token's embedding with all others, and returns its twins.
    fn all_twins(&self, token: u32) -> Result<Vec<u32>, InvertError> {
        let (vocab_size, own) = (self.decoder.config().vocab_size, self.decoder.embeddings_of(&[token]));
        let within = TWIN_WITHIN * norm(&read(own.clone())?);
        let mut twins = Vec::new();
        for begin in (0..vocab_size).step_by(LENGTHS_TOGETHER) {
            let rows = self.decoder.token_embeddings(begin..vocab_size.min(begin + LENGTHS_TOGETHER)); // [tokens, d_model]
            let squares = read_f32((rows - own.clone()).cast(DType::F32).powi_scalar(2).sum_dim(1))?;
            let near = squares.into_iter().map(|square| f64::from(square).sqrt() <= within);
            twins.extend(
                (begin as u32..).zip(near).filter(|&(id, near)| near && id != token).map(|(id, _)| id),
            );
        }
        Ok(twins)
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
    fn tokens_of_one_embedding_are_twins_and_others_have_none() {
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
        for token in 0..20 {
            let found = inverter.neighbours(token).unwrap();
            let expected: &[u32] = match token {
                11 => &[12],
                12 => &[11],
                _ => &[],
            };
            assert_eq!(found.twins, expected, "{token}");
            assert_eq!(found.nearest.len(), 64);
            assert!(expected.is_empty() || found.nearest[0] == expected[0], "{token}: {found:?}");
        }
    }

    #[test]
    fn embeddings_along_one_line_are_twins_if_they_are_near() {
        let length = |token: usize, rows: usize| 1.0 + 2.0 * token as f64 / rows as f64;
        let decoder =
            model("gpt2", &Device::flex()).decoder.map_matrices(&mut |matrix, values| match matrix {
                Matrix::Embedding => {
                    let [rows, _] = values.dims();
                    let row = values.clone().narrow(0, 11, 1);
                    Tensor::cat((0..rows).map(|token| row.clone() * length(token, rows)).collect(), 0)
                }
                _ => values,
            });
        let rows = decoder.config().vocab_size;
        let inverter = Inverter::new(&decoder, Tap::Block(1), Settings::new()).unwrap();
        for token in 0..rows {
            let own = length(token, rows);
            let near = |other: usize| (length(other, rows) - own).abs() <= TWIN_WITHIN * own;
            let mut expected = (0..rows).filter(|&other| other != token && near(other));
            let found = inverter.neighbours(token as u32).unwrap();
            assert!(expected.all(|other| found.twins.contains(&(other as u32))), "{token}: {found:?}");
        }
    }
}
