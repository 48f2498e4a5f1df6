//! The sandbox: runs guest components with wasmtime behind the WIT interfaces, within limits.
