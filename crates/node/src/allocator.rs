//! The C library's allocator, told to give memory back.
//!
//! By itself glibc keeps what was once freed in large pieces: each one raises the size up to which it serves from memory that it does not
//! return, to 32 MiB. A start with a hundred thousand partitions frees some, and the node then holds 80 MiB that nobody uses. It reads its
//! settings only when a process begins, so that `dohle start` begins once more with them: the same process, before it has done anything.
//!
//! Set by the one who starts the program, `GLIBC_TUNABLES` is left as it is, also when it is empty.

use std::os::unix::process::CommandExt;
use std::process::Command;

const VARIABLE: &str = "GLIBC_TUNABLES";
/// Larger pieces are mapped and unmapped one by one; of what lies free behind the last piece, no more is kept. No buffer of the data path
/// is as large as the first, and the second is what glibc itself comes to when requests are of 1 MiB.
const SETTINGS: &str = "glibc.malloc.mmap_threshold=4194304:glibc.malloc.trim_threshold=2097152";

/// Begins the program again, unless it was begun with settings. Comes back where that is not needed, or cannot be done: then the
/// allocator is as it is.
pub fn settle() {
    if !cfg!(target_env = "gnu") || std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        let _failed = Command::new(program).arg0(name).args(arguments).env(VARIABLE, SETTINGS).exec();
    }
}
