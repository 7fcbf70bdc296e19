//! Views of the journal in sled, behind a narrow trait. Rebuildable at any time.
