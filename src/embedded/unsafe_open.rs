//! The only unsafe code of the crate: opening LMDB environments and mapping payload files.
