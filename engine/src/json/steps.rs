//! Counts the steps that walks over a tree take, in tests and fuzz targets only: what time a machine needs is no proof that
//! work is linear.

/// Counts one look at an item of a list or at a member of an object. Outside of tests and fuzz targets it does nothing.
#[cfg(not(any(test, feature = "steps")))]
#[inline(always)]
pub(crate) const fn step() {}

/// Counts one look at an item of a list or at a member of an object.
#[cfg(any(test, feature = "steps"))]
pub(crate) fn step() {
    STEPS.with(|steps| steps.set(steps.get() + 1));
}

#[cfg(any(test, feature = "steps"))]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Returns the number of steps that `work` takes on this thread.
#[cfg(any(test, feature = "steps"))]
pub fn steps_of<T>(work: impl FnOnce() -> T) -> usize {
    let before = STEPS.get();
    drop(work());
    STEPS.get() - before
}
