//! What the fuzz targets do: each checks properties, not only that nothing panics. A panic is a find.

pub mod sse;
pub mod ws;
