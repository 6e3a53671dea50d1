//! Many filters.
