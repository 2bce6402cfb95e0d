//! Serialisation of types by their text.

/// Implements `Serialize` by `Display`, and `Deserialize` by `FromStr`.
///
/// The macro is part of this workspace, not of the public interface.
#[doc(hidden)]
#[macro_export]
macro_rules! serialise_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
