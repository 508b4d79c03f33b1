//! The one place where SQLite's C interface is implemented by us: a VFS that passes every call on to the default one.
//!
//! Unsafe because SQLite calls C functions with C structures. What makes it sound: SQLite keeps to its documented
//! contract for VFSs (one thread at a time in a file, `xClose` last, buffers valid during a call), the real file lies
//! directly behind our own structure in memory that SQLite allocated for both (`szOsFile`), and the VFS outlives every
//! connection, because whoever holds a connection holds the [`Registered`] too.
#![allow(unsafe_code)]

use super::checksum::{PAGE_SIZE, Seal, bare, inspect, seal};
use super::{Call, Failure, FileKind, Layer};
use rusqlite::ffi;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A VFS of ours, known to SQLite as long as this lives.
pub(super) struct Registered {
    vfs: Box<ffi::sqlite3_vfs>,
    name: CString,
    /// What the functions get at through `pAppData`.
    context: Box<Context>,
}

struct Context {
    real: *mut ffi::sqlite3_vfs,
    layer: Arc<dyn Layer>,
    /// Pages of the main file are sealed, and looked at when they are read.
    seals: bool,
}

thread_local! {
    /// SQLite says only that a read failed; it says so on the thread that read.
    static BROKEN: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The page that the latest failed read of this thread found broken, counted from 1; once.
pub(crate) fn take_broken_page() -> Option<u32> {
    BROKEN.take()
}

/// An open file. The real one follows it in memory.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    context: *const Context,
    kind: FileKind,
    path: *mut String,
}

// SAFETY: the structures are only read after registration, and `Layer` is `Send + Sync`.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

impl Registered {
    pub(super) fn new(layer: Arc<dyn Layer>, seals: bool) -> Arc<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = CString::new(format!("rosterkit-{number}")).unwrap_or_default();
        // SAFETY: asks for the default VFS, which exists for the life of the process; initialises SQLite if need be.
        let real = unsafe { ffi::sqlite3_vfs_find(ptr::null()) };
        let context = Box::new(Context { real, layer, seals });
        // SAFETY: `real` points to a valid structure; a bitwise copy of it is one too. What is not overridden below
        // (randomness, sleep, time) does not look at the structure it is called with.
        let mut vfs = Box::new(unsafe { ptr::read(real) });
        // Version 2 has no hooks for replacing system calls, which are the real one's business.
        vfs.iVersion = vfs.iVersion.min(2);
        vfs.szOsFile += size_of::<File>() as c_int;
        vfs.pNext = ptr::null_mut();
        vfs.zName = name.as_ptr();
        vfs.pAppData = (&raw const *context).cast_mut().cast();
        vfs.xOpen = Some(open);
        vfs.xDelete = Some(delete);
        vfs.xAccess = Some(access);
        vfs.xFullPathname = Some(full_pathname);
        // SAFETY: the structure and its name live in the result and are unregistered before they go.
        unsafe { ffi::sqlite3_vfs_register(&raw mut *vfs, 0) };
        Arc::new(Registered { vfs, name, context })
    }

    pub(super) fn layer(&self) -> &dyn Layer {
        &*self.context.layer
    }

    pub(super) fn seals(&self) -> bool {
        self.context.seals
    }

    pub(super) fn name(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: it was registered by `new`, and no connection uses it any more.
        unsafe { ffi::sqlite3_vfs_unregister(&raw mut *self.vfs) };
    }
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    // 2: shared memory, which WAL needs; not 3, memory-mapped reads, which would pass us by.
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
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

pub(super) fn seed_randomness(seed: i32) {
    let no_database: *mut ffi::sqlite3 = ptr::null_mut();
    // SAFETY: initialises SQLite; then this control takes an int and a connection, which may be null.
    unsafe {
        ffi::sqlite3_initialize();
        ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_PRNG_SEED, c_int::from(seed), no_database);
    }
}

/// The real file behind ours.
///
/// # Safety
/// `file` is one that `open` filled in.
unsafe fn real(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: SQLite allocated `szOsFile` bytes, ours and the real one's.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// The number of the page, counted from 1, when the call is about a whole one that has a seal. Pages of the write-ahead log
/// have none: its frames are checksummed as SQLite knows them. Nor has the first look at a file's header.
///
/// # Safety
/// `file` is one that `open` filled in.
unsafe fn sealed_page(file: *mut ffi::sqlite3_file, amount: c_int, offset: i64) -> Option<u32> {
    // SAFETY: the context lives as long as the VFS.
    let seals = unsafe {
        let file = &*file.cast::<File>();
        file.kind == FileKind::Main && (*file.context).seals
    };
    let (amount, offset) = (usize::try_from(amount).ok()?, u64::try_from(offset).ok()?);
    let whole = amount == PAGE_SIZE && offset.is_multiple_of(PAGE_SIZE as u64);
    if seals && whole { u32::try_from(offset / PAGE_SIZE as u64 + 1).ok() } else { None }
}

/// Asks the layer; `None` lets the call pass.
///
/// # Safety
/// `file` is one that `open` filled in.
unsafe fn ask(file: *mut ffi::sqlite3_file, call: Call<'_>) -> Option<Failure> {
    // SAFETY: as it is asked of the caller.
    let (layer, kind, path) = unsafe { about(file) };
    layer.call(kind, path, call).err()
}

/// The layer, and what it is told of a file.
///
/// # Safety
/// `file` is one that `open` filled in, and is not closed while the result is in use.
unsafe fn about<'a>(file: *mut ffi::sqlite3_file) -> (&'a dyn Layer, FileKind, &'a str) {
    // SAFETY: the context lives as long as the VFS, the path until `close`.
    let (context, file) = unsafe {
        let file = &*file.cast::<File>();
        (&*file.context, file)
    };
    // SAFETY: set by `open`, freed by `close`.
    let path = unsafe { file.path.as_ref() }.map(String::as_str).unwrap_or_default();
    (&*context.layer, file.kind, path)
}

/// The code for a failure of this sort of call.
fn code(failure: Failure, io: c_int) -> c_int {
    match failure {
        Failure::Full => ffi::SQLITE_FULL,
        Failure::Io => io,
    }
}

/// Calls a method of the real file; SQLite's default VFS has them all.
macro_rules! pass {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: the real file was opened by its own VFS, which set its methods.
        unsafe {
            let real = real($file);
            match (*(*real).pMethods).$method {
                Some(method) => method(real $(, $argument)*),
                None => ffi::SQLITE_IOERR,
            }
        }
    }};
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: `pAppData` was set by `Registered::new`; SQLite gives memory of `szOsFile` bytes.
    unsafe {
        let context: *const Context = (*vfs).pAppData.cast();
        (*file).pMethods = ptr::null();
        let kind = match flags {
            f if f & ffi::SQLITE_OPEN_MAIN_DB != 0 => FileKind::Main,
            f if f & ffi::SQLITE_OPEN_WAL != 0 => FileKind::Wal,
            _ => FileKind::Other,
        };
        let path = if name.is_null() { "" } else { CStr::from_ptr(name).to_str().unwrap_or_default() };
        if let Err(failure) = (*context).layer.call(kind, path, Call::Open) {
            return code(failure, ffi::SQLITE_CANTOPEN);
        }
        let real_file = file.cast::<File>().add(1).cast::<ffi::sqlite3_file>();
        let Some(open) = (*(*context).real).xOpen else {
            return ffi::SQLITE_CANTOPEN;
        };
        let result = open((*context).real, name, real_file, flags, out_flags);
        if result != ffi::SQLITE_OK {
            return result;
        }
        let path = Box::into_raw(Box::new(path.to_owned()));
        ptr::write(
            file.cast::<File>(),
            File { base: ffi::sqlite3_file { pMethods: &raw const METHODS }, context, kind, path },
        );
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(vfs: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: as in `open`; the name is a C string.
    unsafe {
        let context: *const Context = (*vfs).pAppData.cast();
        let path = CStr::from_ptr(name).to_str().unwrap_or_default();
        let kind = if path.ends_with("-wal") { FileKind::Wal } else { FileKind::Other };
        if let Err(failure) = (*context).layer.call(kind, path, Call::Delete) {
            return code(failure, ffi::SQLITE_IOERR_DELETE);
        }
        let Some(delete) = (*(*context).real).xDelete else {
            return ffi::SQLITE_IOERR;
        };
        delete((*context).real, name, sync_directory)
    }
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: as in `open`.
    unsafe {
        let context: *const Context = (*vfs).pAppData.cast();
        let Some(access) = (*(*context).real).xAccess else {
            return ffi::SQLITE_IOERR;
        };
        access((*context).real, name, flags, out)
    }
}

unsafe extern "C" fn full_pathname(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    length: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: as in `open`.
    unsafe {
        let context: *const Context = (*vfs).pAppData.cast();
        let Some(full_pathname) = (*(*context).real).xFullPathname else {
            return ffi::SQLITE_IOERR;
        };
        full_pathname((*context).real, name, length, out)
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let result = pass!(file, xClose);
    // SAFETY: made by `open`, and this is the last call for the file.
    unsafe { drop(Box::from_raw((*file.cast::<File>()).path)) };
    result
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    buffer: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let call = Call::Read { offset: offset as u64, length: amount as usize };
    // SAFETY: an open file of ours.
    if let Some(failure) = unsafe { ask(file, call) } {
        return code(failure, ffi::SQLITE_IOERR_READ);
    }
    let result = pass!(file, xRead, buffer, amount, offset);
    // SAFETY: an open file of ours.
    let number = unsafe { sealed_page(file, amount, offset) };
    if let (Some(number), ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ) = (number, result) {
        // SAFETY: SQLite's buffer holds `amount` bytes, a page; what a short read did not fill is zeros.
        let page = unsafe { &mut *buffer.cast::<[u8; PAGE_SIZE]>() };
        // SQLite reads only what it has written: where nothing is, something is lost.
        if inspect(number, page) != Seal::Whole {
            BROKEN.set(Some(number));
            return ffi::SQLITE_IOERR_DATA;
        }
        bare(page);
    }
    result
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    buffer: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: SQLite gives `amount` bytes, valid during the call.
    let bytes = unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), amount as usize) };
    let mut page;
    // SAFETY: an open file of ours.
    let bytes = match (unsafe { sealed_page(file, amount, offset) }, <&[u8; PAGE_SIZE]>::try_from(bytes)) {
        (Some(number), Ok(given)) => {
            // A copy: SQLite goes on with its own.
            page = *given;
            seal(number, &mut page);
            &page[..]
        }
        _ => bytes,
    };
    // SAFETY: an open file of ours.
    match unsafe { ask(file, Call::Write { offset: offset as u64, bytes }) } {
        Some(failure) => code(failure, ffi::SQLITE_IOERR_WRITE),
        None => pass!(file, xWrite, bytes.as_ptr().cast(), amount, offset),
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: an open file of ours.
    match unsafe { ask(file, Call::Truncate(size as u64)) } {
        Some(failure) => code(failure, ffi::SQLITE_IOERR_TRUNCATE),
        None => pass!(file, xTruncate, size),
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: an open file of ours.
    let asked = unsafe { ask(file, Call::Sync) };
    // SAFETY: an open file of ours.
    let (layer, kind, path) = unsafe { about(file) };
    let result = match asked {
        // As the system's VFS says it, also when there was no room: SQLITE_FULL would mean that nothing was written.
        Some(_) => ffi::SQLITE_IOERR_FSYNC,
        None if layer.syncs() => pass!(file, xSync, flags),
        None => ffi::SQLITE_OK,
    };
    layer.synced(kind, path, result == ffi::SQLITE_OK);
    result
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    pass!(file, xFileSize, size)
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    pass!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, op: c_int, argument: *mut c_void) -> c_int {
    pass!(file, xFileControl, op, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // Pages are read whole: parts of one could not be looked at.
    pass!(file, xDeviceCharacteristics) & !ffi::SQLITE_IOCAP_SUBPAGE_READ
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    pass!(file, xShmMap, page, size, extend, out)
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    pass!(file, xShmLock, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    // SAFETY: an open file of ours, with the real one behind it.
    unsafe {
        let real = real(file);
        if let Some(barrier) = (*(*real).pMethods).xShmBarrier {
            barrier(real);
        }
    }
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    pass!(file, xShmUnmap, delete)
}
