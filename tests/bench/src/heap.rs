//! Counts what is on the heap: Rust's, as it was asked for. SQLite has its memory from malloc and is not in it, nor is
//! what the allocator adds.

// An allocator cannot be made without it. This one hands every call on as it came and adds up.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

/// Only while somebody asks: two cores that add to one number would slow the other measurements down.
static ON: AtomicBool = AtomicBool::new(false);
static GROWN: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    if ON.load(Ordering::Relaxed) {
        GROWN.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with the arguments it came with, and its answer goes back.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Counts from here on.
pub fn begin() {
    GROWN.store(0, Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
}

/// By how many bytes the heap has grown since [`begin`].
pub fn grown() -> isize {
    GROWN.load(Ordering::Relaxed)
}

/// Counts no more.
pub fn end() {
    ON.store(false, Ordering::Relaxed);
}
