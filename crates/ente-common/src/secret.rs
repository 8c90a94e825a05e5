//! Where passwords, codes and passphrases come from: a file, a file descriptor, a command, or the person at the terminal.
//! Never an argument, which every process of the machine could read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};

/// No secret is longer; what is longer is the wrong file.
const MAX_SECRET_BYTES: usize = 4096;

/// Where a secret comes from, if not from the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file; `-` is standard input.
    File(PathBuf),
    /// What a command prints; the shell runs it.
    Command(String),
}

/// Makes the options `--NAME-file`, `--NAME-fd` and `--NAME-command`, at most one of which may be given, as an argument
/// group `$args` with a method `source`. The name of the group is `NAME-source`.
#[macro_export]
macro_rules! secret_args {
    ($(#[$doc:meta])* $visible:vis $args:ident, $name:literal, $what:literal, $heading:expr
) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, ::clap::Args)]
        #[group(id = concat!($name, "-source"), multiple = false)]
        $visible struct $args {
            #[arg(id = concat!($name, "-file"), long = concat!($name, "-file"), value_name = "FILE", help_heading = $heading,
                help = concat!("Read ", $what, " from this file"))]
            file: Option<::std::path::PathBuf>,

            #[cfg(unix)]
            #[arg(id = concat!($name, "-fd"), long = concat!($name, "-fd"), value_name = "N", help_heading = $heading,
                help = concat!("Read ", $what, " from this open file descriptor"))]
            fd: Option<u32>,

            #[arg(id = concat!($name, "-command"), long = concat!($name, "-command"), value_name = "COMMAND", help_heading = $heading,
                help = concat!("Read ", $what, " from what this shell command prints"))]
            command: Option<String>,
        }

        impl $args {
            /// Where it comes from; `None` if it is to be asked for.
            $visible fn source(&self) -> Option<$crate::secret::Source> {
                use $crate::secret::Source;
                #[cfg(unix)]
                if let Some(fd) = self.fd {
                    // The file as which the system shows the descriptor.
                    return Some(Source::File(format!("/dev/fd/{fd}").into()));
                }
                let file = self.file.clone().filter(|path| !path.as_os_str().is_empty());
                let command = self.command.clone().filter(|command| !command.is_empty());
                file.map(Source::File).or(command.map(Source::Command))
            }
        }
    };
}

impl Source {
    /// Reads `what` (`the password`): everything but the line end that editors and `echo` add.
    ///
    /// `input` is standard input.
    ///
    /// # Errors
    /// When the file cannot be read or the command fails; and when there is nothing in it.
    pub fn read(&self, what: &str, input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let failed = |from: String, error: io::Error| {
            Failure::new(Exit::Failed, format!("cannot read {what} from {from}")).cause(error)
        };
        let secret = match self {
            Self::File(path) if path.as_os_str() == "-" => {
                from_reader(input).map_err(|error| failed("standard input".to_owned(), error))
            }
            Self::File(path) => File::open(path)
                .and_then(from_reader)
                .map_err(|error| failed(format!("`{}`", path.display()), error)),
            Self::Command(command) => {
                from_command(command).map_err(|error| failed("its command".to_owned(), error))
            }
        }?;
        if secret.is_empty() {
            return Err(Failure::new(Exit::Refused, format!("{what} is empty")));
        }
        Ok(secret)
    }
}

/// Reads the secret that lies in the file at `path`.
///
/// # Errors
/// As [`Source::read`].
pub fn from_file(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    Source::File(path.to_owned()).read(what, &mut io::empty())
}

fn from_command(command: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    let (shell, flag) = if cfg!(windows) {
        ("cmd", "/C")
    } else {
        ("sh", "-c")
    };
    let mut child = Command::new(shell)
        .args([OsStr::new(flag), OsStr::new(command)])
        // Standard input may be records, or somebody else's secret.
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().map_or_else(
        || Ok(Zeroizing::default()),
        // Dropped afterwards, so a command that goes on printing ends.
        from_reader,
    );
    let status = child.wait()?;
    let secret = output?;
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    Ok(secret)
}

fn from_reader(reader: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // The whole size at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 1));
    reader
        .take(MAX_SECRET_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_SECRET_BYTES {
        return Err(io::Error::other("it is too long for a secret"));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_goes_and_nothing_else() {
        for (file, secret) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            (" secret \r", " secret \r"),
            ("naïve café\n", "naïve café"),
            ("\n", ""),
        ] {
            assert_eq!(
                &from_reader(file.as_bytes()).unwrap()[..],
                secret.as_bytes()
            );
        }
        let long = vec![b'x'; MAX_SECRET_BYTES + 1];
        assert!(from_reader(&long[..]).is_err());
        assert!(from_reader(&long[1..]).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_command_is_believed_only_if_it_succeeds() {
        let read = |command: &str| {
            let source = Source::Command(command.to_owned());
            source.read("the password", &mut io::empty())
        };
        assert_eq!(&read("echo 'a  b'").unwrap()[..], b"a  b");
        for (command, cause) in [
            ("echo half; exit 3", "it ended with exit status: 3"),
            ("no-such-program 2>&-", "it ended with exit status: 127"),
            ("yes 2>&-", "it is too long for a secret"),
        ] {
            let failure = read(command).unwrap_err();
            assert_eq!(failure.cause.as_deref(), Some(cause));
            assert_eq!(failure.what, "cannot read the password from its command");
        }
        let empty = read("true").unwrap_err();
        assert_eq!(
            (empty.exit, &*empty.what),
            (Exit::Refused, "the password is empty")
        );
    }
}
