//! Everything that can be wrong with a question about distances.

/// Why a study of distances cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollisionError {
    /// A pair needs two rows.
    #[error("{found} rows: a distance needs at least two")]
    TooFewRows {
        /// How many there are.
        found: usize,
    },
    /// More rows than row numbers can count.
    #[error("{found} rows: at most {limit} are supported")]
    TooManyRows {
        /// How many there are.
        found: usize,
        /// How many are supported.
        limit: usize,
    },
    /// Rows without coordinates.
    #[error("the rows have no coordinates")]
    NoColumns,
    /// A number that is NaN or infinite.
    #[error("row {row} has {found} in column {column}: states are finite numbers")]
    NotFinite {
        /// The row, counted from 0.
        row: usize,
        /// The column, counted from 0.
        column: usize,
        /// The number.
        found: f32,
    },
    /// A row of zeros has no direction, so no cosine.
    #[error("row {row} is zero: the cosine distance needs rows with a direction")]
    NoDirection {
        /// The row, counted from 0.
        row: usize,
    },
    /// A label, an identity or the like is missing for some row, or left over.
    #[error("{found} {what} for {rows} rows: expected one each")]
    LabelCount {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// A threshold that no distance can be compared with.
    #[error("the threshold {found} is not a number that a distance can be below")]
    InvalidThreshold {
        /// The threshold.
        found: f64,
    },
    /// Fewer bytes than the search needs.
    #[error("a memory budget of {found} bytes: {rows} rows of {columns} coordinates need at least {needed}")]
    BudgetTooSmall {
        /// The budget.
        found: usize,
        /// What is needed.
        needed: usize,
        /// How many rows there are.
        rows: usize,
        /// The width of a row.
        columns: usize,
    },
    /// The device computes products of f32 numbers less exactly than f32 allows.
    #[error("the device is off by {found:e} in a product of f32 numbers: the bounds allow {allowed:e}")]
    InexactDevice {
        /// The relative error of a probe.
        found: f64,
        /// What the bounds of the fast path allow.
        allowed: f64,
    },
    /// The device could not compute or did not give back a result.
    #[error("the device failed: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
    /// A store that is damaged, or lacks the tap.
    #[error(transparent)]
    Store(#[from] inject_states::store::StoreError),
}
