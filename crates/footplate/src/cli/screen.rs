//! A terminal that is drawn over again and again, given back as it was.
//!
//! Invariant: whatever ends the command, the cursor, the lines before and the way keys are read come back.

use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio_util::sync::CancellationToken;

/// What a terminal is taken to be that does not say.
const USUAL: (usize, usize) = (80, 24);
/// The other screen, without a cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal at stdout, while it is drawn over.
pub struct Screen {
    /// How keys were read before.
    before: Option<Termios>,
}

impl Screen {
    /// Takes the terminal, and cancels `stop` when somebody presses q.
    pub fn open(stop: &CancellationToken) -> io::Result<Self> {
        let before = io::stdin().is_terminal().then(|| keys_at_once(stop.clone())).transpose()?;
        let screen = Self { before };
        write(ENTER)?;
        Ok(screen)
    }

    /// Returns how many columns and lines there are now.
    pub fn size() -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            Ok(_) | Err(_) => USUAL,
        }
    }

    /// Draws these lines, which fit, over what stands there.
    pub fn draw(&self, lines: &[String]) -> io::Result<()> {
        let lines = lines.iter().map(|line| format!("{line}\x1b[K"));
        write(&format!("\x1b[H{}\x1b[J", lines.collect::<Vec<_>>().join("\r\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to be given back.
        drop(write(LEAVE));
        if let Some(before) = &self.before
            && let Err(error) = tcsetattr(io::stdin(), OptionalActions::Now, before)
        {
            tracing::debug!(%error, "the terminal is gone");
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Lets keys be read as they are pressed, without showing them; Ctrl-C stays a signal. Returns how it was before.
fn keys_at_once(stop: CancellationToken) -> io::Result<Termios> {
    let before = tcgetattr(io::stdin())?;
    let mut keys = before.clone();
    keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
    keys.special_codes[SpecialCodeIndex::VMIN] = 1;
    keys.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
    // Nobody joins it: a key that is never pressed must not keep the program.
    std::thread::spawn(move || {
        let is_quit = |key: &Result<u8, _>| matches!(key, Ok(b'q' | b'Q') | Err(_));
        if io::stdin().lock().bytes().any(|key| is_quit(&key)) {
            stop.cancel();
        }
    });
    Ok(before)
}
