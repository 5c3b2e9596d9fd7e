//! What an answer of the kernel means.

use crate::system::{self, Errno};

/// Whether a vector is open, and in which words it was said.
pub(crate) struct Answer {
    pub(crate) open: bool,
    pub(crate) said: String,
}

impl Answer {
    pub(crate) fn open(said: impl Into<String>) -> Self {
        Self { open: true, said: said.into() }
    }

    pub(crate) fn closed(said: impl Into<String>) -> Self {
        Self { open: false, said: said.into() }
    }

    /// Of a call that something is wrong with beside the permission. An error that is no refusal came behind the check.
    pub(crate) fn of(result: Result<i64, Errno>) -> Self {
        Self::beyond(result, &[])
    }

    /// The same, where these errors too come behind the check.
    pub(crate) fn beyond(result: Result<i64, Errno>, passed: &[Errno]) -> Self {
        match result {
            Ok(_) => Self::open("ok"),
            Err(errno) if !passed.contains(&errno) && REFUSALS.contains(&errno) => {
                Self::closed(system::name(errno))
            }
            Err(errno) => Self::open(system::name(errno)),
        }
    }
}

/// Not permitted, or not there at all.
const REFUSALS: [Errno; 12] = [
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
    // Nobody listens.
    system::ECONNREFUSED,
];
