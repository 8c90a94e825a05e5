//! `cargo xtask serve`: a server with an account made up for trying the tools.

use ente_tests::library::{GenerateOptions, GoldenState, Library};

use crate::{Result, scene};

/// What to serve.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files of the made-up account
    #[arg(long, value_name = "N", default_value_t = 200)]
    files: usize,
    /// Serve the golden account of the tests instead, before (1) or after (2) its changes
    #[arg(long, value_name = "STATE", conflicts_with = "files", value_parser = clap::value_parser!(u8).range(1..=2))]
    golden: Option<u8>,
    /// Port to listen on [default: one that is free]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    port: u16,
}

/// Serves until Ctrl-C.
pub(crate) fn run(args: &Args) -> Result {
    let library = match args.golden {
        Some(1) => Library::golden(GoldenState::Initial),
        Some(_) => Library::golden(GoldenState::Changed),
        None => Library::generate(&GenerateOptions {
            files: args.files,
            ..GenerateOptions::default()
        }),
    };
    let (museum, account) = scene::start(library, args.port);
    println!("endpoint  {}", museum.api_url());
    println!("e-mail    {}", account.email);
    println!("password  {}", account.password);
    println!();
    println!("export ENTE_CONFIG_DIR=/tmp/ente-trial/config");
    println!(
        "ente-login --endpoint {} {}",
        museum.api_url(),
        account.email
    );
    println!("ente-pull /tmp/ente-trial/Ente | ente-decrypt - | ente-meta - | ente-verify -");
    println!("\nserving until Ctrl-C");
    loop {
        std::thread::park();
    }
}
