//! Code points that stay numbers: open enumerations and open bit sets with names for the known values.

/// Declares a number with names for some values; any other value is kept and printed in hexadecimal.
macro_rules! open_number {
    ($(#[$doc:meta])* $name:ident: $int:ty { $($(#[$value_doc:meta])* $konst:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$value_doc])* pub const $konst: Self = Self($value);)*

            /// The specification's name, where the value is a known one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$konst => Some(stringify!($konst)),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }
    };
}

/// Declares a bit set with names for some bits; the others are kept and printed in hexadecimal.
macro_rules! open_bits {
    ($(#[$doc:meta])* $name:ident: $int:ty, empty $empty:literal { $($(#[$value_doc:meta])* $konst:ident = $value:expr;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$value_doc])* pub const $konst: Self = Self($value);)*

            /// Whether every bit of `other` is set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The specification's names of the bits that are set and known, lowest first.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                [$((Self::$konst, stringify!($konst)),)*]
                    .into_iter()
                    .filter(move |(bits, _)| self.contains(*bits))
                    .map(|(_, name)| name)
            }

            /// The bits that are set and have no name.
            #[must_use]
            pub const fn unknown(self) -> $int {
                self.0 & !(0 $(| $value)*)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                if self.0 == 0 {
                    return f.write_str($empty);
                }
                let mut separator = "";
                for name in self.names() {
                    write!(f, "{separator}{name}")?;
                    separator = "|";
                }
                match self.unknown() {
                    0 => Ok(()),
                    bits => write!(f, "{separator}{bits:#x}"),
                }
            }
        }
    };
}

pub(crate) use {open_bits, open_number};

#[cfg(test)]
mod tests {
    open_number! {
        /// A colour.
        Colour: u8 {
            /// Like blood.
            RED = 1;
        }
    }
    open_bits! {
        /// Several.
        Several: u8, empty "none" {
            /// First.
            ONE = 1;
            /// Third.
            FOUR = 4;
        }
    }

    #[test]
    fn unknown_values_print_in_hexadecimal() {
        assert_eq!(Colour::RED.to_string(), "RED");
        assert_eq!(Colour(0x2A).to_string(), "0x2a");
        assert_eq!(Colour(0x2A).name(), None);
        assert_eq!(Several(0).to_string(), "none");
        assert_eq!(Several(5).to_string(), "ONE|FOUR");
        assert_eq!(Several(0x84).to_string(), "FOUR|0x80");
        assert_eq!(Several(0x80).to_string(), "0x80");
        assert!(Several(5).contains(Several::FOUR));
    }
}
