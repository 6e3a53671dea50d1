//! How commands end, for scripts. The list in `--help` and in the README is this one.

/// It failed, or was refused.
pub(super) const FAILED: u8 = 1;

/// Something differs (`policy diff --exit-code`).
pub(super) const DIFFERS: u8 = 3;

/// The request that was waited for was denied.
pub(super) const DENIED: u8 = 4;

/// The request that was waited for timed out or was withdrawn.
pub(super) const ENDED: u8 = 5;

/// The request that was waited for is still pending.
pub(super) const PENDING: u8 = 6;

/// What `--help` says of them.
pub(super) const HELP: &str = "Exit codes:
  0  it was done; of `run`, whatever the command ended with
  1  it failed, or was refused
  2  the arguments are wrong
  3  something differs (`policy diff --exit-code`)
  4  the request that was waited for was denied
  5  the request that was waited for timed out or was withdrawn
  6  the request that was waited for is still pending";
