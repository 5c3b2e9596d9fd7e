//! System calls by number, and the names of errors.

use std::{ffi::CString, io};

/// The number of an error.
pub(crate) type Errno = i32;

pub(crate) const EPERM: Errno = 1;
pub(crate) const ENOENT: Errno = 2;
pub(crate) const ENXIO: Errno = 6;
pub(crate) const EACCES: Errno = 13;
pub(crate) const ENODEV: Errno = 19;
pub(crate) const EROFS: Errno = 30;
pub(crate) const ENOSYS: Errno = 38;
pub(crate) const EPROTONOSUPPORT: Errno = 93;
pub(crate) const ESOCKTNOSUPPORT: Errno = 94;
pub(crate) const EOPNOTSUPP: Errno = 95;
pub(crate) const EAFNOSUPPORT: Errno = 97;
pub(crate) const ECONNREFUSED: Errno = 111;

const NAMES: [(Errno, &str); 25] = [
    (EPERM, "EPERM"),
    (ENOENT, "ENOENT"),
    (3, "ESRCH"),
    (ENXIO, "ENXIO"),
    (7, "E2BIG"),
    (8, "ENOEXEC"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (EACCES, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (ENODEV, "ENODEV"),
    (20, "ENOTDIR"),
    (22, "EINVAL"),
    (EROFS, "EROFS"),
    (ENOSYS, "ENOSYS"),
    (EPROTONOSUPPORT, "EPROTONOSUPPORT"),
    (ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
    (EOPNOTSUPP, "EOPNOTSUPP"),
    (EAFNOSUPPORT, "EAFNOSUPPORT"),
    (101, "ENETUNREACH"),
    (ECONNREFUSED, "ECONNREFUSED"),
    (113, "EHOSTUNREACH"),
    (116, "ESTALE"),
    (126, "ENOKEY"),
];

/// Returns the name of an error.
pub(crate) fn name(errno: Errno) -> String {
    let known = NAMES.iter().find(|(number, _)| *number == errno);
    known.map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).to_string())
}

/// The number of an error of the standard library.
pub(crate) fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().unwrap_or_default()
}

unsafe extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

/// Calls the kernel. Missing arguments are 0.
pub(crate) fn call(number: i64, arguments: &[i64]) -> Result<i64, Errno> {
    let argument = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(argument);
    // Pointers among the arguments are those of live values of the callers, or no addresses at all.
    let result = unsafe { syscall(number, a, b, c, d, e, f) };
    if result == -1 { Err(errno(&io::Error::last_os_error())) } else { Ok(result) }
}

/// The address of a value, for a call.
pub(crate) fn pointer<T: ?Sized>(value: &T) -> i64 {
    std::ptr::from_ref(value).cast::<u8>() as i64
}

/// A path or name for a call.
pub(crate) fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Returns whether this process could write to a path, without a write.
pub(crate) fn may_write(path: &str) -> Result<i64, Errno> {
    const HERE: i64 = -100;
    const WRITE: i64 = 2;
    let path = text(path);
    call(number::FACCESSAT, &[HERE, pointer(path.as_bytes_with_nul()), WRITE])
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod number {
    pub(crate) const SOCKET: i64 = 41;
    pub(crate) const PTRACE: i64 = 101;
    pub(crate) const SYSLOG: i64 = 103;
    pub(crate) const GETEUID: i64 = 107;
    pub(crate) const CAPSET: i64 = 126;
    pub(crate) const PERSONALITY: i64 = 135;
    pub(crate) const PIVOT_ROOT: i64 = 155;
    pub(crate) const PRCTL: i64 = 157;
    pub(crate) const ADJTIMEX: i64 = 159;
    pub(crate) const CHROOT: i64 = 161;
    pub(crate) const MOUNT: i64 = 165;
    pub(crate) const SWAPON: i64 = 167;
    pub(crate) const REBOOT: i64 = 169;
    pub(crate) const INIT_MODULE: i64 = 175;
    pub(crate) const KEXEC_LOAD: i64 = 246;
    pub(crate) const ADD_KEY: i64 = 248;
    pub(crate) const KEYCTL: i64 = 250;
    pub(crate) const MKNODAT: i64 = 259;
    pub(crate) const FACCESSAT: i64 = 269;
    pub(crate) const UNSHARE: i64 = 272;
    pub(crate) const PERF_EVENT_OPEN: i64 = 298;
    pub(crate) const OPEN_BY_HANDLE_AT: i64 = 304;
    pub(crate) const SETNS: i64 = 308;
    pub(crate) const PROCESS_VM_READV: i64 = 310;
    pub(crate) const FINIT_MODULE: i64 = 313;
    pub(crate) const BPF: i64 = 321;
    pub(crate) const USERFAULTFD: i64 = 323;
    pub(crate) const IO_URING_SETUP: i64 = 425;
    pub(crate) const FSOPEN: i64 = 430;
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod number {
    pub(crate) const MKNODAT: i64 = 33;
    pub(crate) const MOUNT: i64 = 40;
    pub(crate) const PIVOT_ROOT: i64 = 41;
    pub(crate) const FACCESSAT: i64 = 48;
    pub(crate) const CHROOT: i64 = 51;
    pub(crate) const CAPSET: i64 = 91;
    pub(crate) const PERSONALITY: i64 = 92;
    pub(crate) const UNSHARE: i64 = 97;
    pub(crate) const KEXEC_LOAD: i64 = 104;
    pub(crate) const INIT_MODULE: i64 = 105;
    pub(crate) const SYSLOG: i64 = 116;
    pub(crate) const PTRACE: i64 = 117;
    pub(crate) const REBOOT: i64 = 142;
    pub(crate) const PRCTL: i64 = 167;
    pub(crate) const ADJTIMEX: i64 = 171;
    pub(crate) const GETEUID: i64 = 175;
    pub(crate) const SOCKET: i64 = 198;
    pub(crate) const ADD_KEY: i64 = 217;
    pub(crate) const KEYCTL: i64 = 219;
    pub(crate) const SWAPON: i64 = 224;
    pub(crate) const PERF_EVENT_OPEN: i64 = 241;
    pub(crate) const OPEN_BY_HANDLE_AT: i64 = 265;
    pub(crate) const SETNS: i64 = 268;
    pub(crate) const PROCESS_VM_READV: i64 = 270;
    pub(crate) const FINIT_MODULE: i64 = 273;
    pub(crate) const BPF: i64 = 280;
    pub(crate) const USERFAULTFD: i64 = 282;
    pub(crate) const IO_URING_SETUP: i64 = 425;
    pub(crate) const FSOPEN: i64 = 430;
}
