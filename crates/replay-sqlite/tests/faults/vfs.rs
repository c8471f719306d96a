//! A SQLite file system over the system's own, whose operations fail when told.
//!
//! It is the default one of the process, so the store under test knows nothing of it. Syncs are
//! counted and not carried out: what fails here is told, not lost.

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi;

/// Which operation fails, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// A write finds the disk full.
    Full,
    /// A write fails after half of it.
    HalfWrite,
    /// A sync fails.
    Sync,
    /// Anything that changes a file fails.
    Everything,
}

#[derive(Debug)]
struct Plan {
    fault: Fault,
    /// Operations of that kind that still succeed before one fails.
    after: u64,
    /// Operations that fail then.
    times: u64,
    failed: u64,
}

static PLAN: Mutex<Option<Plan>> = Mutex::new(None);

fn plan() -> MutexGuard<'static, Option<Plan>> {
    PLAN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on, the operation after the next `after` ones that `fault` hits fails, and those that
/// follow it until `times` have failed.
pub(crate) fn arm(fault: Fault, after: u64, times: u64) {
    install();
    *plan() = Some(Plan {
        fault,
        after,
        times,
        failed: 0,
    });
}

/// Nothing fails any more. Returns how many operations have failed.
pub(crate) fn disarm() -> u64 {
    plan().take().map_or(0, |plan| plan.failed)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Operation {
    Write,
    Sync,
    Truncate,
}

/// Does this operation fail?
fn fails(operation: Operation) -> Option<Fault> {
    let mut plan = plan();
    let plan = plan.as_mut()?;
    let hit = match plan.fault {
        Fault::Full | Fault::HalfWrite => operation == Operation::Write,
        Fault::Sync => operation == Operation::Sync,
        Fault::Everything => true,
    };
    if !hit {
        return None;
    }
    if plan.after > 0 {
        plan.after -= 1;
        return None;
    }
    (plan.failed < plan.times).then(|| {
        plan.failed += 1;
        plan.fault
    })
}

/// An open file: ours, and behind it in memory the system's.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    real: *mut ffi::sqlite3_file,
}

struct System(*mut ffi::sqlite3_vfs);

// SAFETY: the pointer is to SQLite's own file system, which lives for ever and may be used from
// every thread.
unsafe impl Send for System {}

static SYSTEM: Mutex<Option<System>> = Mutex::new(None);

pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the default file system is there after initialising, and lives for ever; ours is
        // a copy of it, leaked, with room for both files.
        unsafe {
            assert_eq!(ffi::sqlite3_initialize(), ffi::SQLITE_OK);
            let system = ffi::sqlite3_vfs_find(std::ptr::null());
            let mut ours = *system;
            ours.pNext = std::ptr::null_mut();
            ours.zName = c"faulty".as_ptr();
            ours.szOsFile += c_int::try_from(size_of::<File>()).expect("small");
            ours.xOpen = Some(open);
            *SYSTEM.lock().unwrap_or_else(PoisonError::into_inner) = Some(System(system));
            let ours = Box::leak(Box::new(ours));
            assert_eq!(ffi::sqlite3_vfs_register(ours, 1), ffi::SQLITE_OK);
        }
    });
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let system = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    let system = system.as_ref().expect("installed").0;
    // SAFETY: SQLite gives `szOsFile` bytes, aligned for any file; the system's part comes after
    // ours, whose size is a multiple of the alignment of pointers.
    unsafe {
        let ours = file.cast::<File>();
        let real = ours.add(1).cast::<ffi::sqlite3_file>();
        (*ours).base.pMethods = std::ptr::null();
        (*ours).real = real;
        let code = (*system).xOpen.expect("it opens")(system, name, real, flags, out_flags);
        if !(*real).pMethods.is_null() {
            (*ours).base.pMethods = &raw const METHODS;
        }
        code
    }
}

/// Methods that only pass on.
macro_rules! pass {
    ($($name:ident = $method:ident($($argument:ident: $kind:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $argument: $kind)*) -> c_int {
            // SAFETY: SQLite calls this only on files that `open` has opened.
            unsafe {
                let real = (*file.cast::<File>()).real;
                (*(*real).pMethods).$method.expect("the system has it")(real $(, $argument)*)
            }
        }
    )*};
}

pass! {
    close = xClose();
    read = xRead(to: *mut c_void, amount: c_int, at: i64);
    pass_write = xWrite(from: *const c_void, amount: c_int, at: i64);
    pass_truncate = xTruncate(size: i64);
    file_size = xFileSize(size: *mut i64);
    lock = xLock(level: c_int);
    unlock = xUnlock(level: c_int);
    check_reserved_lock = xCheckReservedLock(out: *mut c_int);
    file_control = xFileControl(what: c_int, argument: *mut c_void);
    sector_size = xSectorSize();
    characteristics = xDeviceCharacteristics();
    shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
    shm_lock = xShmLock(offset: c_int, count: c_int, flags: c_int);
    shm_unmap = xShmUnmap(delete: c_int);
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: as above.
    unsafe {
        let real = (*file.cast::<File>()).real;
        (*(*real).pMethods).xShmBarrier.expect("the system has it")(real);
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    // SAFETY: as above; half of what may be read may be read.
    unsafe {
        match fails(Operation::Write) {
            None => pass_write(file, from, amount, at),
            Some(Fault::Full) => ffi::SQLITE_FULL,
            Some(_) => {
                pass_write(file, from, amount / 2, at);
                ffi::SQLITE_IOERR_WRITE
            }
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    match fails(Operation::Truncate) {
        // SAFETY: as above.
        None => unsafe { pass_truncate(file, size) },
        Some(_) => ffi::SQLITE_IOERR_TRUNCATE,
    }
}

unsafe extern "C" fn sync(_file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    match fails(Operation::Sync) {
        None => ffi::SQLITE_OK,
        Some(_) => ffi::SQLITE_IOERR_FSYNC,
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
