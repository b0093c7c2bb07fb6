//! Serial numbers (RFC 1982, RFC 9260 §1.6): they wrap, and have no order, only distances.

use std::fmt;

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident, $int:ty, $signed:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub $int);

        impl $name {
            /// Whether `self` comes before `other`. Not transitive: compare each bound on its own.
            pub fn precedes(self, other: Self) -> bool {
                (self.0.wrapping_sub(other.0) as $signed) < 0
            }

            /// Whether `self` comes after `other`.
            pub fn follows(self, other: Self) -> bool {
                other.precedes(self)
            }

            /// The number `count` places on.
            #[must_use]
            pub fn plus(self, count: $int) -> Self {
                Self(self.0.wrapping_add(count))
            }

            /// The number `count` places back.
            #[must_use]
            pub fn minus(self, count: $int) -> Self {
                Self(self.0.wrapping_sub(count))
            }

            /// The next number.
            #[must_use]
            pub fn next(self) -> Self {
                self.plus(1)
            }

            /// How many places `self` lies after `earlier`; wraps when it lies before.
            pub fn distance_from(self, earlier: Self) -> $int {
                self.0.wrapping_sub(earlier.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

serial!(
    /// A transmission sequence number.
    Tsn,
    u32,
    i32
);
serial!(
    /// A stream sequence number.
    Ssn,
    u16,
    i16
);

#[cfg(test)]
mod tests {
    use super::*;

    // covers: RFC 9260 §1.6-1, §1.6-2, §1.6-5
    #[test]
    fn comparison_wraps() {
        assert!(Tsn(u32::MAX).precedes(Tsn(0)));
        assert!(Tsn(5).follows(Tsn(u32::MAX - 5)));
        assert!(!Tsn(7).precedes(Tsn(7)));
        assert!(Ssn(65535).precedes(Ssn(3)));
        assert_eq!(Tsn(3).distance_from(Tsn(u32::MAX)), 4);
    }
}
