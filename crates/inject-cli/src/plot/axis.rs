//! The axes of a figure.

/// One axis: its label, which names the unit, and its scale.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    title: String,
    pub(super) scale: Scale,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scale {
    Linear,
    Share,
    Log,
    Columns(Vec<String>),
    Rows(Vec<String>),
}

/// The place of a value on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// The value, or its decimal logarithm.
    At(f64),
    /// A zero on a logarithmic axis: below the scale.
    Zero,
}

impl Axis {
    /// Creates an axis of equal steps.
    pub fn linear(title: impl Into<String>) -> Self {
        Axis { title: title.into(), scale: Scale::Linear }
    }

    /// Creates an axis of shares, from 0 to 1 whatever the values are.
    pub fn share(title: impl Into<String>) -> Self {
        Axis { title: title.into(), scale: Scale::Share }
    }

    /// Equal ratios. A zero has a place of its own below the scale.
    pub fn log(title: impl Into<String>) -> Self {
        Axis { title: title.into(), scale: Scale::Log }
    }

    /// Creates an axis with a column for each name, from the left. Values are their places in the list, from 0.
    pub fn columns<N: Into<String>>(title: impl Into<String>, names: impl IntoIterator<Item = N>) -> Self {
        Axis { title: title.into(), scale: Scale::Columns(names.into_iter().map(Into::into).collect()) }
    }

    /// Creates an axis with a row for each name, from the top. Values are their places in the list, from 0. For the upright axis.
    pub fn rows<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Axis { title: String::new(), scale: Scale::Rows(names.into_iter().map(Into::into).collect()) }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// Returns the names of the rows, if the axis has rows and not numbers.
    pub(super) fn row_names(&self) -> Option<&[String]> {
        match &self.scale {
            Scale::Rows(names) => Some(names),
            _ => None,
        }
    }

    /// Returns the place of a value, if it has one on this axis.
    pub(super) fn place(&self, value: f64) -> Option<Place> {
        let place = match self.scale {
            Scale::Log if value == 0.0 => return Some(Place::Zero),
            Scale::Log => value.log10(),
            Scale::Share if !(0.0..=1.0).contains(&value) => return None,
            _ => value,
        };
        place.is_finite().then_some(Place::At(place))
    }
}
