//! The prompts that one share of an extraction needs.

use inject_models::{Decoder, Progress};

use super::{ExtractError, Extraction, blocks::Blocks, noise::NOISE_SAMPLE, to_store::extract_blocks};
use crate::{
    batches::spread_evenly,
    prompts::IdList,
    share::Share,
    store::{PromptHash, Store, StoreError, StoreShare, StoreSpec},
};

/// The prompts of one share of an extraction, and the facts about all prompts that the share depends on.
///
/// All prompts are read, and those of other shares are forgotten again. So the memory is that of the prompts of one share.
#[derive(Debug)]
pub struct SharePrompts<'a> {
    extraction: &'a Extraction,
    decoder: &'a Decoder,
    about: StoreShare,
    ids: Vec<Vec<u32>>,
    /// The sample of all prompts for the noise floors.
    sample: Vec<Vec<u32>>,
}

impl<'a> SharePrompts<'a> {
    /// Reads all prompts twice and keeps those of a share. Returns `None` if there are fewer blocks of prompts than shares and this one
    /// is empty. `prompts` begins the list of all prompts anew. The ids that are kept may take `most` bytes ([`IdList`]).
    ///
    /// The first reading counts the blocks, which determines the share. The second one keeps its prompts.
    ///
    /// # Errors
    ///
    /// The errors of `prompts`. [`ExtractError::Model`] if the decoder refuses a prompt, [`ExtractError::TooManyIds`] if the ids take
    /// too many bytes, [`StoreError::NoPrompts`], and [`ExtractError::PromptsChanged`] if the second reading gives other prompts.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_states::{ExtractError, Extraction, Share, SharePrompts, models::Tap, store::Positions};
    ///
    /// # use inject_states::models::{FloatFormat, Model, Origin};
    /// # let folder = std::path::Path::new("tests/fixtures/tiny");
    /// # let device = burn::tensor::Device::flex();
    /// # let decoder = Model::load(Origin::of_folder(folder), FloatFormat::F32, &device)?.decoder;
    /// let extraction = Extraction::new(vec![Tap::Block(1)], Positions::Last)?;
    /// let prompts = || Ok::<_, ExtractError>((0..3000).map(|i| Ok(vec![i % 7, 3])));
    /// let second: Share = "2/3".parse()?;
    /// let own = SharePrompts::read(second, &extraction, &decoder, 1 << 20, prompts)?;
    /// assert_eq!(own.map(|own| (own.about().first_prompt, own.ids().len())), Some((1024, 1024)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<E, I>(
        share: Share,
        extraction: &'a Extraction,
        decoder: &'a Decoder,
        most: usize,
        mut prompts: impl FnMut() -> Result<I, E>,
    ) -> Result<Option<Self>, E>
    where
        E: From<ExtractError>,
        I: Iterator<Item = Result<Vec<u32>, E>>,
    {
        let config = decoder.config();
        let mut first = Reading::new(extraction, decoder);
        for ids in prompts()? {
            let ids = ids?;
            config.check_prompt(first.prompts, &ids).map_err(ExtractError::from)?;
            first.push(&ids);
        }
        if first.prompts == 0 {
            return Err(ExtractError::from(StoreError::NoPrompts).into());
        }
        let own_blocks = share.range(first.blocks.begun());
        if own_blocks.is_empty() {
            return Ok(None);
        }
        let mut sampled = spread_evenly(first.prompts, NOISE_SAMPLE).peekable();
        let (mut kept, mut sample, mut first_prompt) = (IdList::new(most), Vec::new(), None);
        let mut hash = first.lengths.clone();
        let mut second = Reading::new(extraction, decoder);
        for ids in prompts()? {
            let ids = ids?;
            let prompt = second.prompts;
            config.check_prompt(prompt, &ids).map_err(ExtractError::from)?;
            hash.add_ids(&ids);
            if sampled.next_if_eq(&prompt).is_some() {
                sample.push(ids.clone());
            }
            if own_blocks.contains(&second.push(&ids)) {
                first_prompt.get_or_insert(prompt);
                kept.push(ids).map_err(ExtractError::from)?;
            }
        }
        if second.lengths.value() != first.lengths.value() {
            let changed = ExtractError::PromptsChanged { found: second.prompts, expected: first.prompts };
            return Err(changed.into());
        }
        let about = StoreShare {
            share,
            first_prompt: first_prompt.unwrap_or_default(),
            prompt_count: first.prompts,
            prompts_sha256: hash.value(),
            batch_bytes: extraction.memory_budget,
        };
        Ok(Some(SharePrompts { extraction, decoder, about, ids: kept.into_ids(), sample }))
    }

    /// Returns the token ids of the share's prompts.
    pub fn ids(&self) -> &[Vec<u32>] {
        &self.ids
    }

    /// Returns the place of the share among all prompts.
    pub fn about(&self) -> &StoreShare {
        &self.about
    }

    /// Computes the states of the share into a store of its own, as [`extract_share_to_store`](crate::extract_share_to_store) does.
    ///
    /// # Errors
    ///
    /// As [`extract_to_store`](crate::extract_to_store).
    ///
    /// # Panics
    ///
    /// As [`extract_to_store`](crate::extract_to_store).
    pub fn extract_to_store(
        &self,
        dir: &std::path::Path,
        spec: StoreSpec,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Store, ExtractError> {
        let SharePrompts { extraction, decoder, about, ids, sample } = self;
        let spec = StoreSpec { share: Some(about.clone()), ..spec };
        extract_blocks(extraction, decoder, ids, sample, dir, spec, progress)
    }
}

/// The result of reading all prompts once, without the prompts themselves.
struct Reading {
    prompts: usize,
    blocks: Blocks,
    lengths: PromptHash,
}

impl Reading {
    fn new(extraction: &Extraction, decoder: &Decoder) -> Self {
        Reading { prompts: 0, blocks: Blocks::new(extraction, decoder), lengths: PromptHash::new() }
    }

    /// Adds a prompt, and returns the number of its block.
    fn push(&mut self, ids: &[u32]) -> usize {
        self.prompts += 1;
        self.lengths.add_length(ids.len());
        self.blocks.push(ids)
    }
}
