//! Plays one story: starts what it needs, runs it, and makes of a failure one that shows every log.

use anyhow::Result;

use crate::mesh::{Mesh, Setup};

/// Plays a story on a running mesh.
///
/// # Panics
/// If the story fails: inside, so that the processes tell their logs while they are ended.
#[expect(clippy::panic, reason = "a story that fails has to fail its test")]
pub fn play(setup: Setup, story: impl AsyncFnOnce(&mut Mesh) -> Result<()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        let mut mesh = Mesh::start(setup).await.unwrap_or_else(|error| panic!("the mesh does not start: {error:?}"));
        if let Err(error) = story(&mut mesh).await {
            panic!("{error:?}");
        }
    });
}
