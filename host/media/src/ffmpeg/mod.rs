//! The engine behind source and sink: ffmpeg child processes, one thread for each, which also reads its messages.

pub mod child;
pub mod decode;
pub mod decode_args;
pub mod encode;
mod encode_args;
pub mod log;
mod matroska;
mod reader;
pub mod stitch_args;
pub mod stop;
pub mod threads;
mod writer;
