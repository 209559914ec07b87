//! `wslmesh tunnel proxy`

use std::{net::IpAddr, path::PathBuf};

use clap::Args;

use crate::{
    cli::output::Exit,
    paths::Paths,
    report,
    tunnel::{self, Proxy},
};

/// In the help.
pub(super) const EXAMPLES: &str = "Example: sudo wslmesh tunnel proxy --upstream 192.168.126.2 and, from the namespace,\n  echo '{\"ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}]}}' | socat - UNIX-CONNECT:/run/wslmesh-proxy.sock";

#[derive(Debug, Args)]
pub(in crate::cli) struct Command {
    /// The Unix socket (mode 0660) on which a guest agent says what is published
    #[arg(long, value_name = "PATH", default_value = "/run/wslmesh-proxy.sock")]
    socket: PathBuf,
    /// Address at which the namespace is reached
    #[arg(long, value_name = "ADDRESS")]
    upstream: IpAddr,
}

pub(super) async fn proxy(command: Command, paths: Paths) -> anyhow::Result<Exit> {
    report::start_journal();
    let Command { socket, upstream } = command;
    tunnel::run_proxy(Proxy { socket, upstream }, paths).await?;
    Ok(Exit::Fine)
}
