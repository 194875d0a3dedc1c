//! What the kernel says of the process behind a pidfd in one call (PIDFD_GET_INFO, since Linux 6.13).
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// `PIDFD_INFO_PID` and `PIDFD_INFO_CREDS` of linux/pidfd.h.
const PID: u64 = 1 << 0;
const CREDS: u64 = 1 << 1;

/// `struct pidfd_info` of linux/pidfd.h in its first version.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct Raw {
    mask: u64,
    cgroup: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ruid: u32,
    rgid: u32,
    others: [u32; 7],
}

struct GetInfo(Raw);

// SAFETY: the number is that of PIDFD_GET_INFO, which carries the size of `Raw`; the kernel reads and writes no more than
// that many bytes there (linux/pidfd.h), all of which may have any value.
unsafe impl Ioctl for GetInfo {
    type Output = Raw;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        opcode::read_write::<Raw>(0xff, 11)
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.0).cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, pointer: *mut c_void) -> rustix::io::Result<Raw> {
        // SAFETY: it is the pointer of `as_ptr`, to a `Raw` that lives until the call is over.
        Ok(unsafe { pointer.cast::<Raw>().read() })
    }
}

/// Who a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    /// Its pid, as this pid namespace counts.
    pub(super) pid: u32,
    /// Its parent's.
    pub(super) parent: u32,
    /// Its real uid.
    pub(super) real_uid: u32,
}

/// Asks the kernel; `None` where it has no such call.
///
/// # Errors
/// When the process has been reaped or lives outside this pid namespace.
pub(super) fn of(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ids>> {
    let asked = GetInfo(Raw { mask: PID | CREDS, ..Raw::default() });
    // SAFETY: as for `GetInfo`; on a descriptor that is no pidfd the call is refused.
    match unsafe { ioctl(pidfd, asked) } {
        Ok(Raw { mask, pid, ppid, ruid, .. }) if mask & (PID | CREDS) == PID | CREDS => match pid {
            0 => Err(io::ErrorKind::NotFound.into()),
            pid => Ok(Some(Ids { pid, parent: ppid, real_uid: ruid })),
        },
        Err(rustix::io::Errno::SRCH) => Err(io::ErrorKind::NotFound.into()),
        // An older kernel, or no pidfd: /proc/self/fdinfo tells which.
        Ok(_) | Err(_) => Ok(None),
    }
}
