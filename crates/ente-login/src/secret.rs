//! Where passwords and codes come from: a file, a file descriptor, or the person at the terminal.
//! Never an argument, which every process of the machine could read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use ente_common::cli::Io;
use ente_common::exit::{Exit, Failure};
use zeroize::Zeroizing;

use crate::PasswordArgs;

/// No password is longer; what is longer is the wrong file.
const MAX_PASSWORD_BYTES: usize = 4096;

/// Gets the password of `account`.
pub(crate) fn password(
    args: &PasswordArgs,
    account: &str,
    io: &mut Io,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let password = if let Some(path) = &args.password_file {
        from_path(path, io)?
    } else if let Some(path) = args.fd_path() {
        from_path(&path, io)?
    } else {
        let question = format!("password of {account}: ");
        let hint = "give the password with `--password-file FILE` or `--password-fd N`";
        let answer = ask(io, &question, true, hint)?;
        Zeroizing::new(answer.as_bytes().to_vec())
    };
    if password.is_empty() {
        return Err(Failure::new(Exit::Refused, "the password is empty"));
    }
    Ok(password)
}

/// Asks for a code of the authenticator.
pub(crate) fn code(account: &str, io: &mut Io) -> Result<String, Failure> {
    let question = format!("code of the authenticator for {account}: ");
    let answer = ask(io, &question, false, "give the code with `--otp CODE`")?;
    Ok(answer.split_whitespace().collect())
}

fn ask(io: &Io, question: &str, secret: bool, hint: &str) -> Result<Zeroizing<String>, Failure> {
    let answer = io.ui.prompt(question, secret, &io.interrupt);
    answer.map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => crate::interrupted(),
        _ => Failure::new(Exit::Usage, "there is no terminal to ask on")
            .cause(error)
            .hint(hint),
    })
}

/// Reads a password file: everything but the line end that editors and `echo` add. `-` is standard
/// input.
fn from_path(path: &Path, io: &mut Io) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let read = if path.as_os_str() == "-" {
        from_reader(&mut io.input)
    } else {
        File::open(path).and_then(from_reader)
    };
    read.map_err(|error| {
        Failure::new(
            Exit::Failed,
            format!("cannot read the password from `{}`", path.display()),
        )
        .cause(error)
    })
}

fn from_reader(reader: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // The whole size at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSWORD_BYTES + 1));
    reader
        .take(MAX_PASSWORD_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() > MAX_PASSWORD_BYTES {
        return Err(io::Error::other("it is too long for a password"));
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
        for (file, password) in [
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
                password.as_bytes()
            );
        }
        let long = vec![b'x'; MAX_PASSWORD_BYTES + 1];
        assert!(from_reader(&long[..]).is_err());
        assert!(from_reader(&long[1..]).is_ok());
    }
}
