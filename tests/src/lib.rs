//! The stand-in server and the harness of the pipeline tests.
//!
//! [`library`] is an account as the server stores it: golden data as it lies on disk, or a library made up from a
//! seed. [`museum`] serves it over HTTP, and misbehaves when a test asks for that. Neither uses any code of the
//! tools: what they encrypt, sign and answer is an independent reading of the protocol. [`harness`] runs the tools
//! as processes and reads what they left by the pages of `docs/formats` alone. [`history`] makes things happen to an
//! account at random, and knows what an export has to hold afterwards. [`fuzz`] has the invariants
//! of every parser. [`mod@bench`] measures.

#[cfg(target_os = "linux")]
pub mod bench;
pub mod crash;
pub mod faults;
#[cfg(target_os = "linux")]
pub mod faulty_disk;
pub mod fuzz;
pub mod harness;
pub mod history;
pub mod journal;
pub mod library;
#[cfg(target_os = "linux")]
pub mod local;
pub mod museum;
