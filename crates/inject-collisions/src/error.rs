//! The errors of this crate.

/// The reason why a search or a measurement of distances failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollisionError {
    /// There are fewer than the two rows of a pair.
    #[error("expected at least two rows, found {found}")]
    TooFewRows {
        /// The number of rows given.
        found: usize,
    },
    /// There are more rows than row numbers can represent.
    #[error("{found} rows, expected at most {limit}")]
    TooManyRows {
        /// The number of rows given.
        found: usize,
        /// The largest number of rows that is supported.
        limit: usize,
    },
    /// The rows have no coordinates.
    #[error("rows of 0 coordinates, expected at least one")]
    NoColumns,
    /// A coordinate is NaN or infinite.
    #[error("row {row}, column {column}: found {found}, expected a finite number")]
    NotFinite {
        /// The row, counted from 0.
        row: usize,
        /// The column, counted from 0.
        column: usize,
        /// The value of the coordinate.
        found: f32,
    },
    /// A row is zero, so it has no direction and no cosine distance.
    #[error("row {row} is zero, expected a direction: the cosine distance is undefined for it")]
    NoDirection {
        /// The row, counted from 0.
        row: usize,
    },
    /// The number of labels or identities differs from the number of rows.
    #[error("the number of {what} is {found}, expected {rows}: one for each row")]
    LabelCount {
        /// The thing counted: labels or identities.
        what: &'static str,
        /// The number of labels or identities.
        found: usize,
        /// The number of rows, each of which needs one.
        rows: usize,
    },
    /// A threshold is NaN, so no distance can be compared with it.
    #[error("a threshold of {found}, expected a number")]
    InvalidThreshold {
        /// The threshold that was given.
        found: f64,
    },
    /// The memory budget is too small for the search.
    #[error(
        "a memory budget of {found} bytes, expected at least {needed} for {rows} rows of {columns} coordinates"
    )]
    BudgetTooSmall {
        /// The memory budget that was given, in bytes.
        found: usize,
        /// The bytes that the search needs.
        needed: usize,
        /// The number of rows to search.
        rows: usize,
        /// The coordinates of a row.
        columns: usize,
    },
    /// The device multiplies f32 numbers less precisely than f32 allows, as TF32 does.
    #[error(
        "the device multiplies f32 numbers with a relative error of {found:e}, expected at most {allowed:e}: switch reduced precision off"
    )]
    InexactDevice {
        /// The relative error of a probe.
        found: f64,
        /// The largest relative error that the bounds of the search allow.
        allowed: f64,
    },
    /// The device could not compute or return a result.
    #[error("the device failed: {reason}")]
    Device {
        /// The message of the device.
        reason: String,
    },
    /// The embedding of the model could not be read.
    #[error(transparent)]
    Model(#[from] inject_states::models::ModelError),
    /// The store is damaged or lacks the tap.
    #[error(transparent)]
    Store(#[from] inject_states::store::StoreError),
}
