//! What every file call passes through.

/// The way to the disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    vfs: Option<String>,
}

impl Disk {
    /// Straight to SQLite's default VFS.
    pub fn plain() -> Self {
        Disk::default()
    }

    pub(crate) fn vfs_name(&self) -> Option<&str> {
        self.vfs.as_deref()
    }
}
