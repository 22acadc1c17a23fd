//! `yundu volume`: serve, replicate, watch, cut over and roll back volumes.

mod find;
mod show;

use crate::context::{Classify, Context, Failure, Outcome};
use anyhow::anyhow;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use yundu_replicate::address::Address;
use yundu_replicate::control::{
    ControlClient, ControlError, Mode, Policy, Request, Response, Role, Status, SyncState,
};
use yundu_replicate::process::{Options, ProcessError, VolumeProcess};
use yundu_replicate_core::node::Config;

const POLL_PAUSE: Duration = Duration::from_millis(200);

/// Arguments.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "A VOLUME is named by its export name, by its image, or by its control socket.\n\n\
Examples:\n  \
truncate -s 1G ledger.img\n  \
yundu volume serve ledger.img --listen 127.0.0.1:10809 --export ledger &\n  \
yundu volume receive copy.img --listen 127.0.0.1:10900 &\n  \
yundu volume replicate ledger --to 127.0.0.1:10900 --mode sync --wait\n  \
yundu volume cutover ledger       # the other side becomes primary, clients keep their connection\n  \
yundu volume rollback ledger      # and back\n\n\
Any NBD client works: nbdinfo nbd://127.0.0.1:10809/ledger"
)]
pub struct Args {
    #[command(subcommand)]
    command: VolumeCommand,
}

#[derive(Subcommand, Debug)]
enum VolumeCommand {
    /// Serve an image to NBD clients (runs until stopped)
    Serve(ServeArgs),
    /// Receive the copy of a volume (runs until stopped)
    Receive(ReceiveArgs),
    /// Start or change replication of a volume
    Replicate(ReplicateArgs),
    /// Show the state of a volume
    Status {
        /// Export name, image or control socket
        volume: String,
        /// Show it again every second until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Make the other side primary; clients keep their connection
    Cutover(CutArgs),
    /// Make this side primary again
    Rollback(CutArgs),
    /// Compare both copies under load
    Verify {
        /// Export name, image or control socket of the primary
        volume: String,
        /// Send differing leaves again
        #[arg(long)]
        repair: bool,
    },
    /// Make this copy primary without the other side (its loss is accepted)
    Promote {
        /// Export name, image or control socket
        volume: String,
        /// Accept that acknowledged writes may be missing here
        #[arg(long)]
        accept_unknown_rpo: bool,
    },
    /// Stop replicating and forget the target
    Detach {
        /// Export name, image or control socket
        volume: String,
    },
    /// Serve NBD clients at one more address
    Export {
        /// Export name, image or control socket
        volume: String,
        /// ADDR:PORT or unix:PATH
        #[arg(long)]
        listen: Address,
        /// Export name
        #[arg(long)]
        export: String,
    },
    /// Fence a volume: stop listening to NBD clients and drop the present ones
    Unexport {
        /// Export name, image or control socket
        volume: String,
    },
    /// Print what happened to a volume
    Events {
        /// Export name, image or control socket
        volume: String,
        /// Only events after this sequence number
        #[arg(long, default_value_t = 0)]
        since: u64,
    },
    /// Flush and end the process of a volume
    Stop {
        /// Export name, image or control socket
        volume: String,
    },
}

#[derive(clap::Args, Debug)]
struct ProcessArgs {
    /// State directory [default: IMAGE.yundu]
    #[arg(long)]
    state: Option<PathBuf>,
    /// Control socket [default: STATE/control.sock]
    #[arg(long)]
    control: Option<PathBuf>,
    /// Listen beyond this machine without encryption, on a network that you trust
    #[arg(long)]
    allow_plaintext: bool,
    /// Silence after which the other side counts as lost, milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    silence_ms: u64,
}

#[derive(clap::Args, Debug)]
struct ServeArgs {
    /// Image: a file or block device
    image: PathBuf,
    /// Where NBD clients connect: ADDR:PORT or unix:PATH (may be repeated)
    #[arg(long, default_value = "127.0.0.1:10809")]
    listen: Vec<Address>,
    /// Export name [default: name of the image without its ending]
    #[arg(long)]
    export: Option<String>,
    #[command(flatten)]
    process: ProcessArgs,
}

#[derive(clap::Args, Debug)]
struct ReceiveArgs {
    /// Image: made when it does not exist
    image: PathBuf,
    /// Where the source connects: ADDR:PORT
    #[arg(long)]
    listen: Address,
    /// Where NBD clients connect: ADDR:PORT or unix:PATH (may be repeated)
    #[arg(long)]
    nbd: Vec<Address>,
    /// Export name [default: name of the image without its ending]
    #[arg(long)]
    export: Option<String>,
    #[command(flatten)]
    process: ProcessArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    Sync,
    Async,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PolicyArg {
    Available,
    Protect,
}

#[derive(clap::Args, Debug)]
struct ReplicateArgs {
    /// Export name, image or control socket of the source
    volume: String,
    /// HOST:PORT of `yundu volume receive`
    #[arg(long)]
    to: String,
    /// sync: a reply means that both copies hold the data
    #[arg(long, value_enum, default_value = "sync")]
    mode: ModeArg,
    /// What happens to writes while a synchronous target is lost
    #[arg(long, value_enum, default_value = "available")]
    policy: PolicyArg,
    /// Wait, showing progress, until the target is in step
    #[arg(long)]
    wait: bool,
}

#[derive(clap::Args, Debug)]
struct CutArgs {
    /// Export name, image or control socket
    volume: String,
    /// Name of the cut; asking twice under one name does it once [default: from the time]
    #[arg(long)]
    id: Option<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Outcome {
    match args.command {
        VolumeCommand::Serve(serve) => {
            let name = serve.export.unwrap_or_else(|| stem(&serve.image));
            let clients = serve.listen;
            run_process(context, serve.image, name, clients, None, serve.process)
        }
        VolumeCommand::Receive(receive) => {
            let name = receive.export.unwrap_or_else(|| stem(&receive.image));
            let peers = Some(receive.listen);
            run_process(
                context,
                receive.image,
                name,
                receive.nbd,
                peers,
                receive.process,
            )
        }
        VolumeCommand::Replicate(replicate) => run_replicate(context, replicate),
        VolumeCommand::Status { volume, watch } => run_status(context, &volume, watch),
        VolumeCommand::Cutover(cut) => move_primary(context, cut, false),
        VolumeCommand::Rollback(cut) => move_primary(context, cut, true),
        VolumeCommand::Verify { volume, repair } => run_verify(context, &volume, repair),
        VolumeCommand::Promote {
            volume,
            accept_unknown_rpo,
        } => simple(context, &volume, &Request::Promote { accept_unknown_rpo }),
        VolumeCommand::Detach { volume } => simple(context, &volume, &Request::Detach),
        VolumeCommand::Export {
            volume,
            listen,
            export,
        } => simple(
            context,
            &volume,
            &Request::Export {
                listen: listen.to_string(),
                export,
            },
        ),
        VolumeCommand::Unexport { volume } => simple(context, &volume, &Request::Unexport),
        VolumeCommand::Events { volume, since } => run_events(context, &volume, since),
        VolumeCommand::Stop { volume } => simple(context, &volume, &Request::Stop),
    }
}

fn stem(image: &std::path::Path) -> String {
    image
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn run_process(
    context: &Context,
    image: PathBuf,
    name: String,
    clients: Vec<Address>,
    peers: Option<Address>,
    args: ProcessArgs,
) -> Outcome {
    let receive = peers.is_some();
    let control = args.control.clone();
    let options = Options {
        image: image.clone(),
        name: name.clone(),
        state: args.state.clone(),
        control: args.control,
        clients: clients.clone(),
        peers: peers.clone(),
        receive,
        allow_plaintext: args.allow_plaintext,
        config: Config {
            silence_us: args.silence_ms * 1000,
            ..Config::default()
        },
    };
    let mut process = VolumeProcess::start(options).map_err(|error| match error {
        ProcessError::Plaintext { .. }
        | ProcessError::Size { .. }
        | ProcessError::NoSize { .. } => Failure::BadInput(error.into()),
        other => Failure::Environment(other.into()),
    })?;
    let control = control.unwrap_or_else(|| {
        args.state
            .unwrap_or_else(|| yundu_replicate::state::StateDirectory::path_for(&image))
            .join("control.sock")
    });
    find::register(&name, &control);
    let mut places: Vec<String> = clients.iter().map(|a| format!("nbd {a}")).collect();
    places.extend(peers.iter().map(|a| format!("replication {a}")));
    eprintln!(
        "{} {name} ({}) — {}",
        context.tr("正在提供卷", "serving volume"),
        image.display(),
        places.join(", ")
    );
    process.run().environment()
}

/// Connects to the process of a volume.
fn connect(volume: &str) -> Result<ControlClient, Failure> {
    let path = find::control_socket(volume).bad_input()?;
    ControlClient::connect(&path).environment()
}

/// A refusal is exit code 3, anything else is the machine's.
fn classify(error: ControlError) -> Failure {
    match error {
        ControlError::Refused { .. } => Failure::Refused(error.into()),
        other => Failure::Environment(other.into()),
    }
}

fn simple(context: &Context, volume: &str, request: &Request) -> Outcome {
    connect(volume)?.request(request).map_err(classify)?;
    context.print(&serde_json::json!({"done": true}), || {
        context.tr("完成", "done").to_owned()
    })
}

fn run_status(context: &Context, volume: &str, watch: bool) -> Outcome {
    let mut client = connect(volume)?;
    loop {
        let status = client.status().map_err(classify)?;
        context.print(&status, || show::status(context, &status))?;
        if !watch {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
        println!();
    }
}

fn run_events(context: &Context, volume: &str, since: u64) -> Outcome {
    match connect(volume)?
        .request(&Request::Events { since })
        .map_err(classify)?
    {
        Response::Events { events } => context.print(&events, || show::events(&events)),
        other => Err(Failure::Environment(anyhow!(
            "unexpected answer: {other:?}"
        ))),
    }
}

fn run_replicate(context: &Context, args: ReplicateArgs) -> Outcome {
    let mut client = connect(&args.volume)?;
    let mode = match args.mode {
        ModeArg::Sync => Mode::Sync,
        ModeArg::Async => Mode::Async,
    };
    let policy = match args.policy {
        PolicyArg::Available => Policy::Available,
        PolicyArg::Protect => Policy::Protect,
    };
    client
        .request(&Request::Replicate {
            to: args.to.clone(),
            mode,
            policy,
        })
        .map_err(classify)?;
    let status = if args.wait {
        wait_in_step(context, &mut client)?
    } else {
        client.status().map_err(classify)?
    };
    context.print(&status, || show::status(context, &status))
}

fn wait_in_step(context: &Context, client: &mut ControlClient) -> Result<Status, Failure> {
    let mut told = String::new();
    loop {
        let status = client.status().map_err(classify)?;
        if status.sync == SyncState::InStep {
            return Ok(status);
        }
        let refused = status
            .link_reason
            .as_ref()
            .filter(|reason| reason.contains("refused:"));
        if let Some(reason) = refused {
            return Err(Failure::Refused(anyhow!("{reason}")));
        }
        let line = show::progress(context, &status);
        if !context.json && line != told {
            eprintln!("{line}");
            told = line;
        }
        std::thread::sleep(POLL_PAUSE);
    }
}

/// `back`: this side becomes primary; else the other side does.
fn move_primary(context: &Context, args: CutArgs, back: bool) -> Outcome {
    let mut client = connect(&args.volume)?;
    let id = args.id.unwrap_or_else(|| {
        let kind = if back { "rollback" } else { "cutover" };
        format!("{kind}-{}", jiff::Timestamp::now().as_microsecond())
    });
    let response = client
        .request(&Request::Cutover { id, to_me: back })
        .map_err(classify)?;
    let Response::Handover(handover) = response else {
        return Err(Failure::Environment(anyhow!(
            "unexpected answer: {response:?}"
        )));
    };
    context.print(&handover, || {
        format!(
            "{}: {} {} — {} {} µs, {} {} µs",
            handover.id,
            context.tr("世代", "generation"),
            handover.generation,
            context.tr("全程", "in all"),
            handover.total_us,
            context.tr("请求被暂缓", "requests held"),
            handover.hold_us
        )
    })
}

fn run_verify(context: &Context, volume: &str, repair: bool) -> Outcome {
    let mut client = connect(volume)?;
    let status = client.status().map_err(classify)?;
    if status.role != Role::Primary {
        return Err(Failure::Refused(anyhow!(
            "this copy is secondary: run the comparison at the primary"
        )));
    }
    client
        .request(&Request::Verify { repair })
        .map_err(classify)?;
    let verification = loop {
        let status = client.status().map_err(classify)?;
        match status.verification {
            Some(verification) if !verification.running => break verification,
            _ => std::thread::sleep(POLL_PAUSE),
        }
    };
    context.print(&verification, || show::verification(context, &verification))?;
    match &verification.aborted {
        Some(reason) => Err(Failure::Environment(
            anyhow!("{reason}").context("verification ended early"),
        )),
        None if verification.differing_leaves > 0 && !repair => Err(Failure::Refused(anyhow!(
            "the copies differ in {} leaves: run it again with --repair",
            verification.differing_leaves
        ))),
        None => Ok(()),
    }
}
