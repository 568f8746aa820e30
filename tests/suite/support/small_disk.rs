//! A file system so small that it can be filled: a tmpfs, where this process may mount one.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted until it is dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

// === impl SmallDisk ===

impl SmallDisk {
    /// The error says why this machine cannot.
    pub fn mount(folder: &Path, mebibytes: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        let size = format!("size={mebibytes}m");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder)
            .output()
            .map_err(|error| format!("mount cannot be run: {error}"))?;
        if output.status.success() {
            Ok(Self { folder: folder.to_owned() })
        } else {
            Err(format!("a tmpfs cannot be mounted: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file on a disk that is not full yet");
        for piece in [1 << 20, 4 << 10] {
            let zeros = vec![0; piece];
            while ballast.write_all(&zeros).is_ok() {}
        }
    }

    /// Makes the room free again.
    pub fn free(&self) {
        let _ = std::fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a node's process may be on its way out.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
