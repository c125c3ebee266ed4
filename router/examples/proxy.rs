//! The router alone, for measuring: `proxy LISTEN BACKEND [HOSTS]` serves `app-0.localhost` … on one thread.

use landfall_router::control::{AppRoutes, Backend, Mode, Table};
use landfall_router::{Limits, Listen, Router, RouterConfig};
use tokio_util::sync::CancellationToken;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(backend)) = (args.next(), args.next()) else { return Err("usage: proxy LISTEN BACKEND [HOSTS]".into()) };
    let (listen, addr) = (listen.parse()?, backend.parse()?);
    let hosts: usize = args.next().map_or(Ok(10), |hosts| hosts.parse())?;
    let dir = std::env::temp_dir().join(format!("landfall-proxy-{}", std::process::id()));
    let apps = (0..hosts).map(|at| AppRoutes {
        id: at.to_string(),
        name: format!("app-{at}"),
        hosts: Vec::new(),
        log_dir: std::env::var_os("PROXY_LOGS").map(|logs| std::path::Path::new(&logs).join(at.to_string())),
        mode: Mode::Serving,
        backends: vec![Backend { id: at.to_string(), addr, dyno: "web.1".to_owned() }],
    });
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("table.json"), serde_json::to_vec(&Table { generation: 1, apps: apps.collect() })?)?;
    let limits = Limits { active_per_backend: 1000, ..Limits::default() };
    let config = RouterConfig {
        listen: vec![Listen::Tcp(listen)],
        control_socket: dir.join("router.sock"),
        table_file: dir.join("table.json"),
        limits,
        ..RouterConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let router = Router::bind(config)?;
        router.serve(CancellationToken::new()).await;
        Ok(())
    })
}
