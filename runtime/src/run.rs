//! The agent used alone: `landfall agent run IMAGE CMD`.

use std::io::Write as _;

use landfall_runtime_wire::{ContainerId, ContainerSpec, Limits, Stdio, UserBlock};

use crate::client::{Agent, ClientError, Output};

/// Runs one command of an image to its end with our standard output and error as its own, removes the container and gives its exit code.
/// Dropping the future leaves the container to be removed by its id.
pub async fn run(agent: &Agent, id: ContainerId, image: &str, args: Vec<String>) -> Result<i32, ClientError> {
    let spec = ContainerSpec {
        hostname: id.to_string(),
        id: id.clone(),
        labels: [("kind".to_owned(), "alone".to_owned())].into(),
        image: image.to_owned(),
        args,
        env: Vec::new(),
        cwd: None,
        user_block: UserBlock(0),
        limits: Limits {
            memory_bytes: 512 << 20,
            memory_quota_bytes: None,
            cpu_shares: 1024,
            cpu_percent: None,
            pids: 256,
            disk_bytes: None,
            wall_ms: None,
        },
        port: None,
        log: None,
        stdio: Stdio::Pipes,
        files: Vec::new(),
    };
    agent.start(spec).await?;
    let ended = follow(agent, &id).await;
    agent.remove(&id).await?;
    ended
}

async fn follow(agent: &Agent, id: &ContainerId) -> Result<i32, ClientError> {
    let mut attached = agent.attach(id).await?;
    match attached.input.close().await {
        // It has ended already; what it said is still there.
        Err(ClientError::Talk(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        closed => closed?,
    }
    loop {
        match attached.output.next().await? {
            Output::Stdout(bytes) => std::io::stdout().write_all(&bytes).map_err(ClientError::Talk)?,
            Output::Stderr(bytes) => std::io::stderr().write_all(&bytes).map_err(ClientError::Talk)?,
            Output::Exited(status) => return Ok(status.code),
        }
    }
}
