//! What a caller may see: governed tables, the barrier, the SQL gate, partner tables.
