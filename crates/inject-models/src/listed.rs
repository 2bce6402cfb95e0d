//! Enums with a list of all their variants.

/// Defines an enum of plain variants and the list of all of them, in the order of their definition. So no variant is missing there.
///
/// The macro is part of this workspace, not of the public interface.
#[doc(hidden)]
#[macro_export]
macro_rules! listed {
    (
        $(#[$of_enum:meta])*
        pub enum $name:ident {
            $($(#[$of_variant:meta])* $variant:ident,)*
        }
        $(#[$of_list:meta])*
        $visibility:vis const $list:ident;
    ) => {
        $(#[$of_enum])*
        pub enum $name {
            $($(#[$of_variant])* $variant,)*
        }

        impl $name {
            $(#[$of_list])*
            $visibility const $list: &'static [$name] = &[$($name::$variant,)*];
        }
    };
}
