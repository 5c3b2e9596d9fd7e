//! The meaning of an answer of the kernel.

use crate::system::{self, Errno};

/// The answer whether a vector is open, with the text of the kernel.
pub(crate) struct Answer {
    pub(crate) open: bool,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn open(text: impl Into<String>) -> Self {
        Self { open: true, text: text.into() }
    }

    pub(crate) fn closed(text: impl Into<String>) -> Self {
        Self { open: false, text: text.into() }
    }

    /// Of a call that something is wrong with beside the permission. An error that is not a denial came behind the
    /// check.
    pub(crate) fn of(result: Result<i64, Errno>) -> Self {
        Self::beyond(result, &[])
    }

    /// The same, where these errors too come behind the check.
    pub(crate) fn beyond(result: Result<i64, Errno>, passed: &[Errno]) -> Self {
        match result {
            Ok(_) => Self::open("ok"),
            Err(errno) if !passed.contains(&errno) && DENIED.contains(&errno) => {
                Self::closed(system::name(errno))
            }
            Err(errno) => Self::open(system::name(errno)),
        }
    }
}

/// Not permitted, or not there at all.
const DENIED: [Errno; 12] = [
    system::EPERM,
    system::ENOENT,
    system::ENXIO,
    system::EACCES,
    system::ENODEV,
    system::EROFS,
    system::ENOSYS,
    system::EPROTONOSUPPORT,
    system::ESOCKTNOSUPPORT,
    system::EOPNOTSUPP,
    system::EAFNOSUPPORT,
    // Nothing listens there.
    system::ECONNREFUSED,
];
