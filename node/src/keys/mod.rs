//! Keys on disk: who may read them, how they are created and opened.
