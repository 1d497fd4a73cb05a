//! The three shapes that wire values take here: an open enumeration, a register of bit fields and a
//! set of flags. Plus the layout assertion. Nothing in here knows the specification.

/// An open enumeration: a transparent integer with named values. A value without a name stays valid,
/// because the other side chose it. `Debug` and `Display` give the specification's name, or the number.
macro_rules! open_enum {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty) {
            $( $(#[$cmeta:meta])* $konst:ident = $value:expr, $spec:literal; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub $repr);

        impl $name {
            $(
                $(#[$cmeta])*
                #[doc = concat!("`", $spec, "`")]
                pub const $konst: Self = Self($value);
            )*

            /// Every named value with the specification's name for it, in the order of this module.
            pub const NAMED: &'static [(Self, &'static str)] = &[ $( (Self::$konst, $spec), )* ];

            /// The specification's name of this value, if it has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $( Self::$konst => Some($spec), )*
                    _ => None,
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, f)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, concat!(stringify!($name), "({:#x})"), self.0),
                }
            }
        }
    };
}

/// A register made of bit fields: a transparent integer with a getter and a `with_` setter a field.
/// `getter, setter: bit;` is a flag, `getter, setter: type @ low..=high;` a number. Bits that no field
/// names are kept as they are. A number too wide for its field loses its high bits.
macro_rules! bit_register {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ident) { $($fields:tt)* }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub $repr);

        impl $name {
            bit_register!(@fields $repr; $($fields)*);
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    };
    (@fields $repr:ident;) => {};
    (@fields $repr:ident;
        $(#[$meta:meta])* $get:ident, $with:ident: $bit:literal;
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[must_use]
        pub const fn $get(self) -> bool {
            self.0 & ((1 as $repr) << $bit) != 0
        }

        #[doc = concat!("The same value with [`", stringify!($get), "`](Self::", stringify!($get), ") set to `value`.")]
        #[must_use]
        pub const fn $with(self, value: bool) -> Self {
            let mask = (1 as $repr) << $bit;
            Self(if value { self.0 | mask } else { self.0 & !mask })
        }

        bit_register!(@fields $repr; $($rest)*);
    };
    (@fields $repr:ident;
        $(#[$meta:meta])* $get:ident, $with:ident: $ty:ident @ $low:literal..=$high:literal;
        $($rest:tt)*
    ) => {
        $(#[$meta])*
        #[must_use]
        #[allow(clippy::cast_possible_truncation, reason = "the field is no wider than its type")]
        pub const fn $get(self) -> $ty {
            const { assert!($high - $low < <$ty>::BITS && $high < <$repr>::BITS) };
            ((self.0 >> $low) & (<$repr>::MAX >> (<$repr>::BITS - 1 - ($high - $low)))) as $ty
        }

        #[doc = concat!("The same value with [`", stringify!($get), "`](Self::", stringify!($get), ") set to `value`.")]
        #[must_use]
        #[allow(clippy::cast_possible_truncation, reason = "the field is no wider than its type")]
        pub const fn $with(self, value: $ty) -> Self {
            let mask = <$repr>::MAX >> (<$repr>::BITS - 1 - ($high - $low));
            Self((self.0 & !(mask << $low)) | (((value as $repr) & mask) << $low))
        }

        bit_register!(@fields $repr; $($rest)*);
    };
}

/// A set of flags that can lie in a wire structure: `bitflags` over a transparent integer. Bits without a
/// name are kept (`from_bits_retain`), so that the reader of a guest's value can refuse them.
macro_rules! wire_flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty) {
            $( $(#[$cattr:ident $($cargs:tt)*])* $konst:ident = $value:expr; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(transparent)]
        pub struct $name(pub $repr);

        bitflags::bitflags! {
            impl $name: $repr {
                $( $(#[$cattr $($cargs)*])* const $konst = $value; )*
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "("))?;
                bitflags::parser::to_writer(self, &mut *f)?;
                write!(f, ")")
            }
        }
    };
}

/// Asserts the size of a wire structure and the offset of each field named, at compile time.
macro_rules! layout {
    ($( $ty:ty: $size:literal { $( $field:ident: $offset:literal ),* $(,)? } )*) => {
        $(
            const _: () = assert!(core::mem::size_of::<$ty>() == $size);
            $( const _: () = assert!(core::mem::offset_of!($ty, $field) == $offset); )*
        )*
    };
}
