//! `miroir backup`: has the gateway write a dump, and brings it to where it is to stay. `miroir restore`: loads one from there.

use std::fs;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::client::{AdminArgs, ClientError, url_of};
use super::import::{self, TargetArgs};
use super::objects::{Object, ObjectError, Upload};
use crate::config::DEFAULT_LISTEN;
use crate::dumps::remote::{Remote, RemoteError};
use crate::settings::Secret;

/// Write the whole cluster as one dump, and bring it to a folder, a file or an object store.
#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// A folder, a file that ends in `.dump`, or `s3://bucket/key`; a key that is missing or ends in `/` gets the dump's name.
    #[arg(long)]
    to: String,
    /// The gateway's URL.
    #[arg(long, env = "MIROIR_URL", default_value_t = url_of(DEFAULT_LISTEN))]
    url: String,
    /// Its master key, or one that allows `dumps.create` and `tasks.get`.
    #[arg(long, env = "MIROIR_KEY", hide_env_values = true)]
    key: Option<Secret>,
    /// Leave the dump in the gateway's own folder too.
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Load a backup into a cluster of any topology, and compare.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A dump, a folder of dumps (the newest by its name is taken), or `s3://bucket/key`.
    #[arg(long)]
    from: String,
    #[command(flatten)]
    target: TargetArgs,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error("{0}")]
    Gateway(#[from] RemoteError),
    #[error("the dump was not written: {0}")]
    Task(String),
    #[error(transparent)]
    Admin(#[from] ClientError),
    #[error("cannot write {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("the dump ended after {had} of {size} bytes")]
    Short { had: u64, size: u64 },
    #[error("{} holds no dump", .0.display())]
    NoDump(PathBuf),
}

/// Where a dump is brought to.
enum Sink {
    /// Written beside, where nobody else may read it, and then in its place; what is never whole is gone.
    File {
        file: tempfile::NamedTempFile,
        path: PathBuf,
    },
    Object(Box<Upload>),
}

/// Prints where the backup is. Fails with the reason on standard error; no part of a backup is left then.
pub fn backup(args: BackupArgs) -> ExitCode {
    match make(&args) {
        Ok(place) => {
            println!("{place}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where it is.
fn make(args: &BackupArgs) -> Result<String, BackupError> {
    let remote = Remote::new(&args.url, args.key.clone());
    let task = remote.wait(&remote.send("POST", "/dumps", None)?)?;
    let (Some("succeeded"), Some(uid)) = (task["status"].as_str(), task["details"]["dumpUid"].as_str()) else {
        let message = task["error"]["message"].as_str().map(str::to_owned);
        return Err(BackupError::Task(message.unwrap_or_else(|| task["status"].to_string())));
    };
    let place = bring(args, uid);
    if !args.keep {
        let deleted = args.admin.send("DELETE", &format!("/dumps/{uid}"), None);
        // What went wrong first is what is said.
        if place.is_ok() {
            deleted?;
        }
    }
    place
}

/// Brings the dump to its place; where it is.
fn bring(args: &BackupArgs, uid: &str) -> Result<String, BackupError> {
    let mut sink = Sink::open(&args.to, uid)?;
    let (mut had, mut size) = (0, None);
    while size.is_none_or(|size| had < size) {
        let (bytes, of) = args.admin.piece(&format!("/dumps/{uid}?offset={had}"))?;
        if bytes.is_empty() && had < of {
            return Err(BackupError::Short { had, size: of });
        }
        had += bytes.len() as u64;
        size = Some(of);
        sink.write(&bytes)?;
    }
    sink.finish()
}

/// Ends as an import does: 0 if all is loaded and alike, 1 if it was stopped, 2 if something differs.
pub fn restore(args: RestoreArgs) -> ExitCode {
    match local(&args.from) {
        Ok((dump, fetched)) => {
            let mut target = args.target;
            if fetched.is_some() && target.state.is_none() {
                // The file that it is fetched into has another name each time.
                target.state = Some(PathBuf::from("miroir-restore.json"));
            }
            import::finish(import::import_dump(&dump, &target))
        }
        Err(error) => {
            eprintln!("miroir: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The dump as a file; with what was fetched, which is gone when that is dropped.
fn local(from: &str) -> Result<(PathBuf, Option<tempfile::NamedTempFile>), BackupError> {
    if let Some(object) = Object::parse(from, None)? {
        let failed = |source| BackupError::File { path: std::env::temp_dir(), source };
        let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
        object.download(file.as_file_mut())?;
        file.as_file_mut().rewind().map_err(failed)?;
        return Ok((file.path().to_owned(), Some(file)));
    }
    let path = Path::new(from);
    if !path.is_dir() {
        return Ok((path.to_owned(), None));
    }
    let entries = fs::read_dir(path).map_err(|source| BackupError::File { path: path.to_owned(), source })?;
    let dumps =
        entries.flatten().map(|entry| entry.path()).filter(|file| file.extension().is_some_and(|end| end == "dump"));
    // Names begin with the date.
    dumps.max().map(|dump| (dump, None)).ok_or_else(|| BackupError::NoDump(path.to_owned()))
}

// === impl Sink ===

impl Sink {
    fn open(to: &str, uid: &str) -> Result<Self, BackupError> {
        let name = format!("{uid}.dump");
        if let Some(object) = Object::parse(to, Some(&name))? {
            return Ok(Self::Object(Box::new(object.upload()?)));
        }
        let path = Path::new(to);
        let path = if path.extension().is_some_and(|end| end == "dump") { path.to_owned() } else { path.join(name) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let made = fs::create_dir_all(folder)
            .and_then(|()| tempfile::Builder::new().prefix(".").suffix(".part").tempfile_in(folder));
        match made {
            Ok(file) => Ok(Self::File { file, path }),
            Err(source) => Err(BackupError::File { path, source }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        match self {
            Self::File { file, path } => {
                file.write_all(bytes).map_err(|source| BackupError::File { path: path.clone(), source })
            }
            Self::Object(upload) => Ok(upload.part(bytes)?),
        }
    }

    /// Gives it its name; where it is.
    fn finish(self) -> Result<String, BackupError> {
        match self {
            Self::File { file, path } => {
                let whole = file.as_file().sync_all();
                let named = whole.and_then(|()| Ok(file.persist(&path)?));
                named.map_err(|source| BackupError::File { path: path.clone(), source })?;
                Ok(path.display().to_string())
            }
            Self::Object(upload) => Ok(upload.finish()?),
        }
    }
}
