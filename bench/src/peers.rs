//! Servers of others.

use crate::Run;
use crate::process::{Server, free_port};
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A server that offers one export over TCP.
pub struct NbdServer {
    /// The process.
    pub server: Server,
    /// Its port on this machine.
    pub port: u16,
    /// URI for libnbd.
    pub uri: String,
}

/// `qemu-nbd` with its usual write-back cache; several connections allowed.
pub fn qemu_nbd(run: &Run, image: &Path, read_only: bool) -> Result<NbdServer> {
    let port = free_port()?;
    let mut command = Command::new("qemu-nbd");
    command.args([
        "--format=raw",
        "--persistent",
        "--shared=16",
        "--cache=writeback",
    ]);
    command.args([
        "--discard=unmap",
        "--bind=127.0.0.1",
        &format!("--port={port}"),
    ]);
    command.arg("--export-name=bench");
    if read_only {
        command.arg("--read-only");
    }
    start(run, command.arg(image), port)
}

/// `nbdkit file`.
pub fn nbdkit(run: &Run, image: &Path) -> Result<NbdServer> {
    let port = free_port()?;
    let mut command = Command::new("nbdkit");
    command.args([
        "--foreground",
        "--ipaddr=127.0.0.1",
        &format!("--port={port}"),
        "file",
    ]);
    start(run, command.arg(image), port)
}

fn start(run: &Run, command: &mut Command, port: u16) -> Result<NbdServer> {
    let mut server = Server::start(command, &run.work.join(format!("peer-{port}.log")))?;
    server.wait_port(port)?;
    Ok(NbdServer {
        server,
        port,
        uri: format!("nbd://127.0.0.1:{port}/bench"),
    })
}

/// `qemu-storage-daemon` that serves an image, with a monitor.
pub struct StorageDaemon {
    /// The serving side.
    pub nbd: NbdServer,
    monitor: BufReader<UnixStream>,
    /// Events since the last command was sent; a quick job is ready before its command returns.
    events: Vec<String>,
}

impl StorageDaemon {
    /// Serves `image` as node `source`.
    pub fn start(run: &Run, image: &Path) -> Result<Self> {
        let port = free_port()?;
        let socket = run.work.join("qmp.sock");
        let _ = std::fs::remove_file(&socket);
        let mut command = Command::new("qemu-storage-daemon");
        let (socket_name, image) = (socket.display(), image.display());
        for argument in [
            format!("--chardev=socket,path={socket_name},server=on,wait=off,id=monitor"),
            "--monitor=chardev=monitor".to_owned(),
            format!("--blockdev=driver=file,node-name=file,filename={image},discard=unmap"),
            "--blockdev=driver=raw,node-name=source,file=file,discard=unmap".to_owned(),
            format!("--nbd-server=addr.type=inet,addr.host=127.0.0.1,addr.port={port}"),
            "--export=type=nbd,id=export,node-name=source,name=bench,writable=on".to_owned(),
        ] {
            command.arg(argument);
        }
        let nbd = start(run, &mut command, port)?;
        let monitor = UnixStream::connect(&socket)?;
        monitor.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut daemon = Self {
            nbd,
            monitor: BufReader::new(monitor),
            events: Vec::new(),
        };
        daemon.message()?;
        daemon.ask(&json!({"execute": "qmp_capabilities"}))?;
        Ok(daemon)
    }

    /// Adds another server's export as node `target`.
    pub fn add_target(&mut self, target: &NbdServer) -> Result<()> {
        let port = target.port.to_string();
        self.ask(&json!({"execute": "blockdev-add", "arguments": {
            "driver": "nbd", "node-name": "target", "export": "bench",
            "server": {"type": "inet", "host": "127.0.0.1", "port": port}}}))
    }

    /// Mirrors every write synchronously from one node to the other; returns when the job is
    /// ready. `sync` is `full`, or `none` when both are the same already.
    pub fn mirror(&mut self, from: &str, to: &str, sync: &str) -> Result<()> {
        self.ask(&json!({"execute": "blockdev-mirror", "arguments": {
            "job-id": "mirror", "device": from, "target": to, "sync": sync,
            "copy-mode": "write-blocking"}}))?;
        self.wait_event("BLOCK_JOB_READY")
    }

    /// Makes the target of the mirror the node that is served; returns with the event.
    pub fn complete(&mut self) -> Result<()> {
        let command = json!({"execute": "block-job-complete", "arguments": {"device": "mirror"}});
        self.ask(&command)?;
        self.wait_event("BLOCK_JOB_COMPLETED")
    }

    /// Sends a command and waits for its outcome.
    fn ask(&mut self, command: &Value) -> Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        self.events.clear();
        self.monitor.get_mut().write_all(&line)?;
        loop {
            let message = self.message()?;
            if message.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = message.get("error") {
                bail!("qemu-storage-daemon refused {command}: {error}");
            }
        }
    }

    fn wait_event(&mut self, name: &str) -> Result<()> {
        while !self.events.iter().any(|event| event == name) {
            self.message()?;
            let failed = ["BLOCK_JOB_ERROR", "BLOCK_JOB_CANCELLED"];
            if let Some(event) = self
                .events
                .iter()
                .find(|event| failed.contains(&event.as_str()))
            {
                bail!("the mirror of qemu-storage-daemon failed: {event}");
            }
        }
        Ok(())
    }

    fn message(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.monitor.read_line(&mut line)? == 0 {
            bail!("qemu-storage-daemon closed its monitor");
        }
        let message: Value = serde_json::from_str(&line).context("the monitor must speak JSON")?;
        if let Some(event) = message.get("event").and_then(Value::as_str) {
            self.events.push(event.to_owned());
        }
        Ok(message)
    }
}
