//! Where the owner's data lies: files and folders, read through DataFusion.
