//! Every tuned constant of the crate, with the command that measures it. A constant that is called a first choice was not compared with
//! other values. Where results are named beside it, they were obtained with it.
//!
//! A wrong value among the constants of noise, of the noise of a producer, of changes to all states and of evidence can make a verdict
//! wrong. The others change the time of a search, and how far it goes before it leaves a position open. "depth" and
//! "policies" stand for `inject depth` and `inject compare-policies` on SmolLM2-135M, which print candidates, passes and times;
//! "lens" stands for `inject lens` on it, which prints the share of right tokens on held-out text; "bench NAME" stands for
//! `cargo bench --bench NAME`.

// Noise and acceptance.

/// Factor on measured noise: another program sums in another order. Measured: depth, `least margin / floor`
/// (60 or more, at sinks).
pub(crate) const NOISE_SAFETY: f64 = 8.0;
/// The same for a candidate that came near without fitting, and whose noise was measured. Of 71,685 states that transformers computed in
/// f32, eight exceeded a factor of 8, by up to 14.5: docs/laboratory/results/producers.md.
pub(crate) const NOISE_SAFETY_EXAMINED: f64 = 32.0;
/// Positions at which an inverter measures noise. Measured: bench inversion, `noise`.
pub(crate) const NOISE_POSITIONS: usize = 8;
/// Length of the sequence on which an inverter measures noise. Measured: bench inversion, `noise`.
pub(crate) const NOISE_SEQUENCE: usize = 16;
/// Candidates computed beside the measured one. Measured: bench inversion, `noise`.
pub(crate) const NOISE_CANDIDATES: u32 = 63;
/// Distance, in floors, within which a candidate has its own noise measured. Measured: depth with `--format bf16`.
pub(crate) const EXAMINED_WITHIN: f64 = 256.0;

// The noise of a producer.

/// Sequences computed for a calibration. A first choice, with the results of docs/laboratory/results/producers.md.
pub(crate) const CALIBRATION_SEQUENCES: usize = 64;
/// Tokens of each such sequence. A first choice, with the same results.
pub(crate) const CALIBRATION_LEN: usize = 5;
/// Tokens of each kind of position whose twin is computed too. A first choice, with the same results.
pub(crate) const CALIBRATION_TWINS: usize = 64;
/// Sequences computed together. Measured: bench forward.
pub(crate) const CALIBRATION_BATCH: usize = 64;
/// Share of the median variance of a coordinate added to every direction. A first choice, with the same results.
pub(crate) const CALIBRATION_RIDGE: f64 = 0.1;
/// Median change of states, as a share of their norms, below which rounding changed no weights: a hundredth of what 8 bits change, and a
/// hundred times the noise of f32.
pub(crate) const ALREADY_ROUNDED: f64 = 1e-4;
/// Factor on the scales of another rounding of the same width. Even steps that are a fifth wider move the points of the old grid by 0.35 steps
/// on average (root mean square), and a rounding moves weights by 0.29.
pub(crate) const COARSER_BY: f64 = 1.2;
/// Least standard deviation of the logarithm of a length, because a few hundred tokens say little about others. A first choice: with 0.1 no
/// state of docs/laboratory/results/producers.md exceeded five deviations.
pub(crate) const CALIBRATION_LEAST_SPREAD: f64 = 0.15;
/// The norm at which a state is recognised as an attention sink, in norms of ordinary states. A first choice.
pub(crate) const SINK_NORM: f64 = 4.0;
/// Share of the norm of first states below which a later sink is one in part. Full ones differ by less than a tenth.
pub(crate) const PARTIAL_SINK_NORM: f64 = 0.8;
/// The floor of a partial sink, as a share of its norm. From the one case in docs/laboratory/results/producers.md.
pub(crate) const PARTIAL_SINK_FLOOR: f64 = 0.02;

/// Standard deviations of the noise's logarithm up to which a candidate fits. Measured: docs/laboratory/results/producers.md.
pub(crate) const NOISE_DEVIATIONS: f64 = 5.0;
/// Standard deviations of the noise's logarithm up to which noise alone explains a distance: 97.7 % of right tokens.
pub(crate) const LIKELY_DEVIATIONS: f64 = 2.0;
/// Wrong tokens are expected from this many standard deviations below the typical margin. A first choice.
pub(crate) const MARGIN_DEVIATIONS: f64 = 3.0;
/// Candidates farther than the nearest by this factor are ruled out. Derived in docs/numerics.md, section 7.
pub(crate) const SEPARATED: f64 = 2.0;
/// The nearest token of the whole vocabulary is accepted beyond the floor if all others are farther by this factor. Derived
/// in the same section.
pub(crate) const SEPARATED_ALONE: f64 = 3.0;
/// The nearest token of a sample is accepted beyond the floor, or at a partial sink, if all others are farther by this factor. At
/// partial sinks of SmolLM2-135M right tokens were 11 times as near as any other or nearer, and wrong ones at most 4 times as near as
/// their neighbours: docs/laboratory/results/producers.md.
pub(crate) const ALONE_BY_SAMPLE: f64 = 8.0;
/// Candidates tested at a first position where wrong tokens are expected to fit. A first choice.
pub(crate) const CROWDED_FIRST: usize = 4096;
/// The same at a later position. A first choice.
pub(crate) const CROWDED_LATER: usize = 512;
/// Factor on these two numbers if the nearest token is farther away than noise alone explains. A first choice.
pub(crate) const CROWDED_UNLIKELY: usize = 8;
/// Distance of two embeddings, as a share of the length of one, within which the tokens are twins. Those of trained tokens are
/// farther apart: docs/laboratory/results/producers.md.
pub(crate) const TWIN_WITHIN: f64 = 0.25;
/// Nearest embeddings that are compared to find a twin: nearness is approximate. A first choice.
pub(crate) const TWINS_COMPARED: usize = 4;
/// Tokens with the nearest embeddings that are tested before the other tested tokens stand for the untested ones. A first choice.
pub(crate) const NEIGHBOURS_TESTED: usize = 64;
/// Under the noise of a producer, at least this many tested candidates stand for the untested ones. A first choice.
pub(crate) const NEIGHBOURS_SAMPLE: usize = 512;
/// Settled positions that the calibration counts for beside those of the prompt. A first choice.
pub(crate) const CALIBRATION_COUNTS: f64 = 4.0;

// The tap of states that do not say it. Not compared with other values. They decide which taps are tried, in which order and for how
// long; a tap is taken only if a token fits there, or is much nearer than all others tested.

/// Tokens whose states at every tap are compared with a state.
pub(crate) const TAP_SAMPLE: usize = 192;
/// The distance of the nearest sample, in median distances, below which the state is its own.
pub(crate) const TAP_NEXT_TO: f64 = 0.2;
/// Share of the mean variance added to every direction of a sample.
pub(crate) const TAP_RIDGE: f64 = 0.1;
/// Candidates tested at each tap before more are tested at any. The noise of the producer is measured at a tap where none of them fits, which
/// takes as long as 1,600 candidates, so fewer would save little.
pub(crate) const TAP_CANDIDATES_FIRST: usize = 256;
/// Candidates tested at a tap if none of the first ones fits at any tap.
pub(crate) const TAP_CANDIDATES: usize = 4096;
/// Candidates of a first position after which the tap is doubted, if none fitted. The doubt costs a tenth of them.
pub(crate) const TAP_DOUBTED: usize = 2048;
/// Taps tried by direction from the first at which a direction fits with noise. A first choice.
pub(crate) const TAP_DIRECTIONS: usize = 3;
/// The distance of the nearest state, as a share of the length of the given one, below which other weights of the same model are likely.
/// Weights rounded to 4 bits moved first states of SmolLM2-135M by up to 0.38 of their length, weights with as much noise as they have
/// themselves by 0.76 and more. A first choice between the two.
pub(crate) const TAP_OTHER_WEIGHTS: f64 = 0.5;
/// Taps tried when the given one is doubted.
pub(crate) const TAP_OTHERS: usize = 3;

// Changes to all states.

/// The mean over the coordinates of a state that was centred, in root mean squares: the error of a sum of a thousand numbers in f32.
/// Derived in docs/numerics.md, section 8.
pub(crate) const CENTRED_WITHIN: f64 = 1e-5;
/// Open positions by which rounded weights are recognised: the second, because the first state of all is an attention sink, which shows
/// less.
pub(crate) const ROUNDED_POSITIONS: usize = 2;
/// Candidates tested at each of them before rounded weights are given up. Not compared with other values.
pub(crate) const ROUNDED_CANDIDATES: usize = 4096;
/// Tokens computed with rounded weights beside the nearest ones, before these weights are tried. A first choice.
pub(crate) const ROUNDED_SAMPLE: usize = 256;
/// The factor by which rounded weights must bring the nearest of them nearer. A first choice.
pub(crate) const ROUNDED_NEARER: f64 = 2.0;
/// The distance of a sink's state from that of its token, as a share of its norm, up to which other weights explain it. Those of
/// docs/laboratory/results/producers.md moved sinks by up to 0.21.
pub(crate) const MOVED_SINK_WITHIN: f64 = 0.3;
/// Open positions by which the noise of rounded weights is recognised. A first choice.
pub(crate) const NEAR_POSITIONS: usize = 4;
/// The number of them that is enough if they are verified. A first choice.
pub(crate) const NEAR_VERIFIED: usize = 2;
/// Candidates of a position that failed that are measured again by the noise of rounded weights. A first choice.
pub(crate) const SAMPLE_REMEASURED: usize = 1024;
/// Candidates of the first state after a text of which it is not known where its last token ends. As many as find a first token under a factor.
pub(crate) const BEGINNING_CANDIDATES: usize = SCALE_CANDIDATES;
/// Candidates compared by direction before a factor is given up. A factor took at most 8,168: docs/laboratory/results/rows.md.
pub(crate) const SCALE_CANDIDATES: usize = 8192;
/// The bound on the relative error of a factor below which no other explanation is looked for: noise of computing in F32, which is less than
/// 1e-4, and not of a narrower format, which is more than 1e-3. Between the two, and not compared with other values.
pub(crate) const SURELY_SCALED: f64 = 3e-4;

// A position without a state. Not compared with other values. The cost of a gap is in proportion to them, and with these the missing rows in
// docs/laboratory/results/rows.md were recovered.

/// Sequences of two tokens computed side by side, each with a copy of the prefix.
pub(crate) const PAIRS_TOGETHER: usize = 64;
/// Tokens tried in place of the missing one, to find the token after it.
pub(crate) const GAP_FILLERS: usize = 4;
/// Candidates for the token after the missing one, for each of these.
pub(crate) const GAP_NEXT: usize = 512;
/// Candidates for the missing token before the next token after it is tried.
pub(crate) const GAP_FIRST: usize = 2048;
/// Next tokens for which every token is tried for the missing one.
pub(crate) const GAP_WHOLE: usize = 2;
/// The size of a vocabulary up to which all pairs of tokens are tried.
pub(crate) const GAP_ALL_PAIRS: usize = 512;
/// Tokens tried for the first of two missing ones.
pub(crate) const GAP_PAIR_FIRST: usize = 16;
/// Candidates for the second, after each of these.
pub(crate) const GAP_PAIR_SECOND: usize = 256;
/// Tokens tried after each such pair.
pub(crate) const GAP_PAIR_NEXT: usize = 2;
/// Candidates for each token after a gap that nothing bridged.
pub(crate) const GAP_GUESSED: usize = 256;

// States in unknown order. Not compared with other values. They decide how many tokens are tested before the whole vocabulary is, and with
// these docs/laboratory/results/rows.md was measured.

/// Tokens read from each row, round by round.
pub(crate) const SHUFFLED_READ: [usize; 3] = [8, 64, 256];
/// Tokens that the model expects, tested with the first choice of each row.
pub(crate) const SHUFFLED_EXPECTED_FIRST: usize = 32;
/// Tokens that the model expects, round by round after that.
pub(crate) const SHUFFLED_EXPECTED: [usize; 3] = [256, 1024, 4096];
/// Tokens sampled at a position whose token neither a row nor the expectation gives.
pub(crate) const SHUFFLED_SURVEY: usize = 6144;
/// Candidates of one position to which a map is fitted, at most.
pub(crate) const SHUFFLED_PAIRS: usize = 8192;
/// Floors within which a token and a row belong together while the order is looked for. At a sink the nearest wrong token is 200 floors
/// away.
pub(crate) const SHUFFLED_WITHIN: f64 = 16.0;
/// Rows that are searched for a first token before the whole vocabulary is.
pub(crate) const SHUFFLED_FIRST_ROWS: usize = 3;

// Coordinates in unknown order. Not compared with other values. They decide how many tokens are tested before the whole vocabulary is, and
// with these docs/laboratory/results/rows.md was measured.

/// Tokens that the model expects, tested before the whole vocabulary while few coordinates are known.
pub(crate) const PERMUTED_EXPECTED: usize = 4096;
/// Coordinates of unknown place, one in so many, up to which sources of candidates are asked.
pub(crate) const PERMUTED_UNRESOLVED: usize = 16;

// Evidence that no untested token fits.

/// Chance that a wrong token lies as near as the accepted one, up to which the others need no test. Derived in docs/numerics.md,
/// section 7.
pub(crate) const CHANCE_OF_TWIN: f64 = 1e-3;
/// Least chance of noise as long as a distance, because some states have more noise than those of the calibration. A first choice, with the
/// states in docs/laboratory/results/producers.md.
pub(crate) const CHANCE_OF_OUTLIER: f64 = 1e-2;

/// Dimensions in which the states of different tokens spread, at most. Derived in docs/numerics.md, section 6.
pub(crate) const CHANCE_DIMENSIONS: usize = 12;
/// Distance of the nearest wrong token, as a share of the state's length. Measured: docs/numerics.md, section 6.
pub(crate) const CHANCE_MARGIN: f64 = 0.1;
/// The same at an attention sink. Measured: the same table.
pub(crate) const CHANCE_SINK_MARGIN: f64 = 0.002;
/// Dimensions in which the states of tokens spread at an attention sink, at most: far from a state they lie along few. Measured: the same
/// table.
pub(crate) const CHANCE_SINK_DIMENSIONS: usize = 4;
/// The floor, as a share of the expected distance of the nearest wrong token, up to which no tested token need confirm that distance: just
/// above the rounding of BF16. Derived in docs/numerics.md, section 6.
pub(crate) const CHANCE_UNSAMPLED: f64 = 0.03;
/// The floor, as a share of the distance of the nearest wrong token, up to which only tokens with equal or nearly equal embeddings fit
/// beside the right one. Derived in docs/numerics.md, section 6.
pub(crate) const CHANCE_NEGLIGIBLE: f64 = 0.01;
/// The distance of embeddings, as a multiple of the floor's share of that distance, within which such tokens are looked for: embeddings of
/// different tokens are about 1.2 lengths apart.
pub(crate) const DUPLICATE_WITHIN: f64 = 1.5;
/// Error of a projection in F32, in lengths of embeddings.
pub(crate) const DUPLICATE_SLACK: f64 = 1e-5;
/// The same in a narrow format.
pub(crate) const DUPLICATE_SLACK_NARROW: f64 = 0.01;
/// The directions along which embeddings are compared. Not compared with other values: tokens that get past them by chance are rare.
pub(crate) const PROBES: usize = 16;
/// The width of a cell of their grid, in lengths of embeddings. Not compared with other values.
pub(crate) const DUPLICATE_CELL: f32 = 1.0 / 64.0;
/// If at least this many candidates were tested, the nearest that does not fit stands for the untested ones.
pub(crate) const CHANCE_SAMPLE: usize = 16;
/// Expected number of untested tokens that fit, up to which they need no test. Measured: the sweep in docs/numerics.md, section 6.
pub(crate) const CHANCE_MOST: f64 = 1e-4;

// Testing.

/// Candidates of one batch at most: larger ones are no faster on a CPU. Measured: bench candidates.
pub(crate) const LARGEST_BATCH: usize = 512;
/// Candidates of one batch at most on a GPU, if the memory budget allows: enough rows for products at its full rate. Measured:
/// `benches/gpu`, `candidates`.
pub(crate) const LARGEST_BATCH_ON_DEVICE: usize = 4096;
/// The candidates of a larger batch, in candidates that cost as much as a pass does by itself: where weights come from the disk, an
/// eighth of the time is theirs.
pub(crate) const BATCH_OF_A_PASS: f64 = 8.0;
/// Nearest candidates kept at a position, and hypotheses followed from it. Measured: depth with `--noise-share 2`.
pub(crate) const NEAREST_KEPT: usize = 16;
/// States of candidates kept at a position, for searches: 256 MB at a width of 4,096. A first choice.
pub(crate) const STATES_KEPT: usize = 8192;
/// Candidates tested by drafts at one position before batches take over. Measured: depth with lenses, `repaired`.
pub(crate) const DRAFTED_MOST: usize = 64;
/// At least this many prompts share their passes. Measured: `inject invert` on a store of 1,000 prompts.
pub(crate) const TOGETHER_FEWEST: usize = 2;

// Proposals of every source.

/// Smallest batch of proposals. Measured: policies, `ours with lens`.
pub(crate) const SMALLEST_PROPOSAL: usize = 16;
/// Largest batch of proposals. Measured: policies, `ours with lens`.
pub(crate) const LARGEST_PROPOSAL: usize = 256;
/// A vocabulary sample is at most one token in this many. Measured: policies on the bundled model.
pub(crate) const SAMPLED_SHARE: usize = 16;
/// Single-token prompts averaged for the expectation at a first position. Measured: policies, candidates at position 0.
pub(crate) const EXPECTATION_PROMPTS: usize = 64;
/// The number of them in one pass, after each of which there is a report of progress.
pub(crate) const EXPECTATION_TOGETHER: usize = 8;
/// The weights that are rounded between two reports of progress: less than a millisecond.
pub(crate) const WEIGHTS_BETWEEN_REPORTS: usize = 1 << 12;

// Drafts by a lens.

/// Tokens kept of each position and kind of evidence. Measured: depth with lenses, `repaired`.
pub(crate) const SHORTLIST: usize = 16;
/// Nats below the first token within which tokens are kept. Measured: bench lens, `read`.
pub(crate) const SHORTLIST_WITHIN: f32 = 30.0;
/// A draft ends once all of it is right with less than this probability. Measured: depth with lenses, `draft ms`.
pub(crate) const DRAFT_LEAST_LIKELY: f64 = 0.02;
/// Rows of another draft, which a wrong token costs beside the fixed cost of its pass. With 8 rows for that cost, as of weights in 16
/// bits, an alternative is worth its row from a probability of 0.02. Measured: depth with lenses.
pub(crate) const DRAFT_ROWS_OF_A_REPAIR: f64 = 42.0;
/// Alternatives to one draft at most, as a share of the rows that a repair costs: 32 of 50. Measured: depth with lenses, `draft ms`.
pub(crate) const DRAFT_ALTERNATIVES: f64 = 0.64;
/// Share of an alternative's worth that is lost after a wrong token. Measured: depth with lenses, `repaired`.
pub(crate) const DRAFT_LOST_AFTER_WRONG: f64 = 0.3;
/// Probability mass on the lists of a position below which other sources are asked. Measured: depth with lenses.
pub(crate) const DRAFT_WORTH: f64 = 0.5;
/// Initial trust in each kind of evidence, in settled positions, the best kind first. Measured: depth with lenses.
pub(crate) const EVIDENCE_TRUST: [f64; 3] = [3.6, 0.2, 0.2];
/// Probability that a position's token is on none of its lists. Measured: lens.
pub(crate) const PROBABILITY_UNLISTED: f64 = 0.02;
/// Probability of a token that a draft computed and no list has. Measured: depth with lenses.
pub(crate) const PROBABILITY_OF_STRANGER: f64 = 1e-4;
/// Share of a wrong token's distance that is not evidence: nine in ten right tokens lie below 0.85, nine in ten wrong ones above
/// 0.6. Measured: depth with lenses, last block.
pub(crate) const DISTANCE_MIDDLE: f64 = 0.65;
/// Exponent of the odds in the distance. Measured: depth with lenses, last block.
pub(crate) const DISTANCE_STEEPNESS: f64 = 6.0;
/// Largest odds from one distance. Measured: depth with lenses, last block.
pub(crate) const DISTANCE_MOST_ODDS: f64 = 1e4;

// The lens in context.

/// Tokens of the whole vocabulary tested first at a position. Measured: depth with lenses, deepest blocks.
pub(crate) const CONTEXT_SAMPLED: usize = 64;
/// The most such tokens, because a guess does not use more. Measured: depth with lenses, deepest blocks.
pub(crate) const CONTEXT_MOST_SAMPLED: usize = 1024;

// Combinations of tested candidates.

/// Tested candidates combined near a state. Measured: policies, `ours without lens`.
pub(crate) const COMBINED_NEARBY: usize = 256;
/// Tested candidates combined over the whole vocabulary. Measured: policies, `ours without lens`.
pub(crate) const COMBINED_EVERYWHERE: usize = 768;
/// Ridge, as a share of the mean square of the distances. Measured: policies, `ours without lens`.
pub(crate) const COMBINATION_RIDGE: f64 = 1e-2;

/// Ridge of a regression on all tested candidates, as a share of the mean square of the distances. Not compared with other values. More than
/// above, because the candidates lie all over the vocabulary.
pub(crate) const REGRESSION_RIDGE: f64 = 1e-1;
/// The share of the right-hand side that is left when its solution is accurate enough: a guess has few digits.
pub(crate) const REGRESSION_ACCURACY: f64 = 1e-3;
/// Steps of its solution at most.
pub(crate) const REGRESSION_STEPS: usize = 200;

/// Candidates whose gradients are taken together. At half the depth of random weights, so many hold more information than 2,000 states:
/// docs/design.md, "Without a lens".
pub(crate) const PULLED_BACK: usize = 32;

// The secant search.

/// Candidates of the first round. Measured: policies, `ours without lens`.
pub(crate) const SECANT_FIRST_ROUND: usize = 16;
/// Candidates of a later round. Measured: policies, `ours without lens`.
pub(crate) const SECANT_ROUND: usize = 64;
/// Candidates of a round at most: after many tested in vain another guess changes little. Measured: policies.
pub(crate) const SECANT_LARGEST_ROUND: usize = 4096;
/// At least this many candidates are tested before a guess is made. Measured: policies, `ours without lens`.
pub(crate) const SECANT_ENOUGH: usize = 64;
/// Candidates after which more of the neighbourhood of a position do not help. Measured: policies.
pub(crate) const SECANT_NEARBY: usize = 192;
/// Tokens sampled from the whole vocabulary after that. Measured: policies, candidates at position 0.
pub(crate) const SECANT_SAMPLED: usize = 384;
/// Distance of a state from the one before it, as a share of that one's norm, within which both are taken for those of one token. Computing
/// in 16 bits moves a state by at most a tenth of its norm: docs/numerics.md, section 7.
pub(crate) const SAME_STATE_WITHIN: f64 = 0.2;
/// With at least this many pairs, a map is worth its product with the vocabulary. Measured: policies, `the same, learning on`.
pub(crate) const SECANT_SURVEY_FEWEST: usize = 384;
/// Pairs of a state and a token that the memory keeps. Measured: policies, `the same, learning on`.
pub(crate) const SECANT_MOST_PAIRS: usize = 4096;
/// Diagonal added to the normal equations of features of variance one. Measured: policies, `the same, learning on`.
pub(crate) const SECANT_RIDGE: f64 = 4.0;
/// The shortest and the longest draft. Measured: policies, `the same, learning on`.
pub(crate) const SECANT_REACH: (usize, usize) = (4, 128);
/// Weights of a direction beside the expectation: a right token `m` deviations from the mean has odds `exp(m x)`. Measured:
/// policies, `ours without lens`.
pub(crate) const BLEND_WEIGHTS: [f64; 3] = [1.0, 2.0, 4.0];
/// The weight of a direction alone. Measured: policies, `ours without lens`.
pub(crate) const BLEND_ALONE: f64 = 3.0;
/// Initial trust in each way of weighing, in tokens found. Measured: policies, `ours without lens`.
pub(crate) const BLEND_TRUST: f64 = 0.3;

// The choice of a policy.

/// Candidates of a position without a lens, by prior and secant search on ordinary text. Measured: policies.
pub(crate) const AUTO_UNCALIBRATED: f64 = 64.0;
/// Passes in which these are tested: a first round, and one more. Measured: policies, `batches`.
pub(crate) const AUTO_ROUNDS: f64 = 2.0;
/// Tokens of the survey: with 1,024 twice as many positions of block 1 remain to be searched. Measured: policies.
pub(crate) const AUTO_SURVEY: usize = 2048;
/// The prior is asked after cheaper sources if a token costs this much up to the head, in costs up to the tap. Measured: depth.
pub(crate) const AUTO_FAR: f64 = 4.0;

/// The turns of the policy with a lens: limits on the candidates of each turn. A token missing from the lens's first choices is
/// usually in the top hundred of the lens or of the prior, and far down in the other. Measured: depth with lenses,
/// `candidates`, over text, code and random tokens.
pub(crate) mod ladder {
    /// Turn 1: the lens.
    pub(crate) const LENS_FIRST: usize = 24;
    /// Turn 2: tokens that occurred earlier in the prompt.
    pub(crate) const REPEATED: usize = 8;
    /// Turn 3 if a pass to the head is expensive: the lens in context.
    pub(crate) const FAR_CONTEXT: usize = 512;
    /// Turn 4 in that case: the lens again.
    pub(crate) const FAR_LENS: usize = 256;
    /// Turn 5 in that case: the prior.
    pub(crate) const FAR_PRIOR: usize = 64;
    /// Turn 3 if such a pass is cheap: the prior.
    pub(crate) const NEAR_PRIOR: usize = 32;
    /// The lens in context in that case.
    pub(crate) const NEAR_CONTEXT: usize = 256;
    /// The lens again in that case.
    pub(crate) const NEAR_LENS: usize = 64;
    /// The prior again in that case.
    pub(crate) const NEAR_PRIOR_AGAIN: usize = 64;
    /// The lens a third time in that case.
    pub(crate) const NEAR_LENS_AGAIN: usize = 256;
    /// The turn of the secant search.
    pub(crate) const SECANT: usize = 192;
    /// The lens in context a second time.
    pub(crate) const CONTEXT_AGAIN: usize = 2048;
    /// The longest list of the lens.
    pub(crate) const DEEPEST: usize = 8192;
    /// The longest list holds at most one token in this many of the vocabulary.
    pub(crate) const DEEPEST_SHARE: usize = 6;
    /// The prior down to this share of the longest list, then the lens and the prior by turns.
    pub(crate) const PRIOR_SHARE: usize = 32;
    /// The lens down to this share of the longest list.
    pub(crate) const LENS_SHARE: usize = 8;
    /// The prior down to this share of the longest list, the second time.
    pub(crate) const PRIOR_SHARE_AGAIN: usize = 4;
}

// The cost of a lens's drafts, in forward passes.

/// A wrong token costs part of another draft. Measured: depth with lenses, `passes mean`.
pub(crate) const PASSES_OF_A_MISS: f64 = 0.5;
/// A token off the shortlist costs a search in addition. Measured: depth with lenses, `passes mean`.
pub(crate) const PASSES_OF_AN_UNLISTED: f64 = 2.0;
/// Operations for reading back and comparing one coordinate: 1.6 ns on two cores that do 200 in a nanosecond. Measured: bench
/// candidates, embedding.
pub(crate) const FLOP_OF_COMPARING: f64 = 320.0;

/// Operations in the time of reading a byte of weights from memory: two cores read 24 GB/s and do 200 GFLOP/s. Measured: bench step.
pub(crate) const FLOP_OF_A_BYTE: f64 = 8.0;
/// The same from a disk that reads 1.4 GB/s. Measured: `dd`, and the first pass over a checkpoint of 16 GB.
pub(crate) const FLOP_OF_A_BYTE_ON_DISK: f64 = 140.0;
/// The same for each byte in F32 of numbers that are restored from codes: 0.19 ns a number in Q4_1, 0.20 in Q4_K_M and 0.24 in Q5_0, on the
/// same cores. Measured: bench sizes, `step`, in docs/checkpoints.md and docs/sizes.md.
pub(crate) const FLOP_OF_A_RESTORED_BYTE: f64 = 10.0;

// Making a lens.

/// Coordinates kept until the held-out text decides. Measured: lens, `rank`.
pub(crate) const LENS_MOST_RANK: usize = 256;
/// Coordinates of a table of first positions. Measured: lens without BOS, candidates at position 0.
pub(crate) const LENS_FIRST_RANK: usize = 64;
/// Fewest samples to fit a lens to. Measured: lens with `--prompts`.
pub(crate) const LENS_FEWEST_SAMPLES: usize = 256;
/// Ranks that are tried. Measured: lens, `rank`.
pub(crate) const LENS_RANKS: [usize; 5] = [16, 32, 64, 128, 256];
/// Weights of the codebook beside the prior that are tried: its coordinates at different positions are not independent, so a nat
/// of it is worth less. Measured: lens.
pub(crate) const LENS_WEIGHTS: [f64; 3] = [0.1, 0.2, 0.4];
/// Held-out positions used at most. Measured: lens, spread of `first` over seeds.
pub(crate) const LENS_MOST_HELD_OUT: usize = 600;
/// The length of the prompt that a lens is chosen for. Measured: depth with lenses, by length.
pub(crate) const LENS_PROMPT: usize = 64;
/// Diagonal added to the normal equations: as much as 30 samples of features of variance one. Measured: lens.
pub(crate) const LENS_RIDGE: f64 = 30.0;
/// Diagonal added to the covariance, as a share of its mean. Measured: lens.
pub(crate) const LENS_SHRINKAGE: f64 = 0.01;
/// Least variance within a token's states, as a share of that between tokens. Measured: lens, embedding.
pub(crate) const LENS_LEAST_NOISE: f64 = 1e-4;
/// Occurrences in the text that a token's mean after the prefixes counts for. Measured: lens.
pub(crate) const LENS_PREFIXES_COUNT: f64 = 8.0;
/// A first token is an outlier from this multiple of the median length. Measured: lens without BOS.
pub(crate) const LENS_FAR: f64 = 4.0;

// Sizes of blocks of work.

/// Tokens whose products are scored together: a strip of points stays in the nearest cache. Measured: bench lens, `read`.
pub(crate) const CHUNK: usize = 512;
/// Tokens that a device multiplies at once. Measured: bench lens, `read`.
pub(crate) const ON_DEVICE: usize = 16 * CHUNK;
/// Scores compared together without a branch. Measured: bench lens, `read`.
pub(crate) const SCORES_TOGETHER: usize = 64;
/// Tokens in a box. Measured: bench lens, `read`.
pub(crate) const IN_A_BOX: usize = 256;
/// Rank up to which boxes pay. Measured: bench lens, `read`.
pub(crate) const BOXES_MOST_RANK: usize = 16;
/// Positions read by a lens together. Measured: bench lens, `read`.
pub(crate) const READ_TOGETHER: usize = 128;
/// Points widened to f32 together. Measured: bench lens, `read`.
pub(crate) const WIDENED_TOGETHER: usize = 512;
/// Tokens computed together for a lens. Measured: bench lens, `build`.
pub(crate) const LENS_BATCH: usize = 512;
/// Samples projected together. Measured: bench lens, `build`.
pub(crate) const PROJECTED_TOGETHER: usize = 8192;
/// Embeddings whose lengths are computed together. Measured: bench inversion, `draft`.
pub(crate) const LENGTHS_TOGETHER: usize = 1024;
/// Numbers of the embedding whose mean is computed at once: 128 MB in F32. The embedding of a large model is in its files, and is not
/// widened as a whole.
pub(crate) const MEANS_TOGETHER: usize = 1 << 25;
/// Rows of the embedding compared with a point together. Measured: policies, `gradient`.
#[cfg(feature = "gradient")]
pub(crate) const ROWS_TOGETHER: usize = 4096;
/// Points compared with the embedding together. Measured: policies, `hard prompts`.
#[cfg(feature = "gradient")]
pub(crate) const POINTS_TOGETHER: usize = 16;
