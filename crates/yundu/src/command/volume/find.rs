//! From what a person calls a volume to its control socket.

use anyhow::{Context as _, bail};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use yundu_replicate::state::StateDirectory;

/// Where processes note their names: `YUNDU_RUNTIME_DIR`, or the system's place for such things.
fn runtime_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("YUNDU_RUNTIME_DIR") {
        return PathBuf::from(directory);
    }
    if let Some(directory) = std::env::var_os("XDG_RUNTIME_DIR") {
        return PathBuf::from(directory).join("yundu");
    }
    if rustix::process::geteuid().is_root() {
        PathBuf::from("/run/yundu")
    } else {
        std::env::temp_dir().join(format!("yundu-{}", rustix::process::geteuid().as_raw()))
    }
}

fn entry(name: &str) -> Option<PathBuf> {
    let plain = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    plain.then(|| runtime_directory().join(name))
}

/// Notes which control socket belongs to a name. A name in use by a living process stays with
/// it; that one can still be named by its image.
pub fn register(name: &str, control: &Path) {
    let Some(link) = entry(name) else { return };
    let Ok(control) = std::path::absolute(control) else {
        return;
    };
    let is_ours = std::fs::read_link(&link).is_ok_and(|noted| noted == control);
    if !is_ours && std::os::unix::net::UnixStream::connect(&link).is_ok() {
        eprintln!("the name {name} is taken; name this volume by its image");
        return;
    }
    let noted = std::fs::create_dir_all(runtime_directory()).and_then(|()| {
        match std::fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => std::os::unix::fs::symlink(&control, &link),
        }
    });
    if let Err(error) = noted {
        eprintln!("the name {name} cannot be noted ({error}); name this volume by its image");
    }
}

/// The control socket of a volume named by export name, image or socket.
pub fn control_socket(volume: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(volume);
    if std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(path.to_owned());
    }
    let beside = StateDirectory::path_for(path).join("control.sock");
    if beside.exists() {
        return Ok(beside);
    }
    let Some(link) = entry(volume) else {
        bail!("no volume process belongs to {volume}: is `yundu volume serve` running for it?");
    };
    std::fs::read_link(&link).with_context(|| {
        format!(
            "no volume is called `{volume}`: name its export, its image or its control socket, \
             and see that `yundu volume serve` runs"
        )
    })
}
