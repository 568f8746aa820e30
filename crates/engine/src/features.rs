//! Experimental features: which are on, kept in a file.

use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::durable;
use super::engine;
use super::payload::io_failure;
use crate::error::ResponseError;

/// Which experimental features are on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Features {
    pub metrics: bool,
    pub logs_route: bool,
    pub edit_documents_by_function: bool,
    pub contains_filter: bool,
    pub network: bool,
    pub get_task_documents_route: bool,
    pub composite_embedders: bool,
    pub chat_completions: bool,
}

/// The features of a node.
pub struct FeatureStore {
    path: PathBuf,
    /// The file is written before this changes.
    features: RwLock<Features>,
}

// === impl Features ===

impl Features {
    /// Those that change how the engine reads requests.
    pub fn for_engine(self) -> engine::Features {
        engine::Features {
            contains_filter: self.contains_filter,
            edit_documents_by_function: self.edit_documents_by_function,
            composite_embedders: self.composite_embedders,
            network: self.network,
        }
    }
}

// === impl FeatureStore ===

impl FeatureStore {
    pub fn open(data_dir: &Path) -> std::io::Result<Self> {
        let path = data_dir.join("features.json");
        let features = durable::read_json(&path)?.unwrap_or_default();
        Ok(Self { path, features: RwLock::new(features) })
    }

    pub fn get(&self) -> Features {
        *self.features.read()
    }

    /// Blocks on the disk.
    pub fn change(&self, edit: impl FnOnce(&mut Features)) -> Result<(), ResponseError> {
        let mut features = self.features.write();
        let mut changed = *features;
        edit(&mut changed);
        durable::write_json(&self.path, &changed).map_err(|error| io_failure(&error))?;
        *features = changed;
        Ok(())
    }
}
