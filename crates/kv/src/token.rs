//! Tokens: an id, the hash of a secret, and rights. The secret itself is shown once and never kept.
//!
//! A token reads `fp-<id>-<secret>`; it is found by its id and the hash is compared in constant time.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::rules::Rights;

/// A token as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Sixteen hexadecimal digits; not secret.
    pub id: String,
    /// The SHA-256 of the whole token, in hexadecimal digits.
    pub hash: String,
    /// For people; of a joined token the name that joined.
    pub name: String,
    /// What it may do.
    pub kind: Kind,
    /// Seconds since 1970 when it was made.
    pub created: u64,
    /// The join token it was exchanged for; a name that joins again with the same loses its older token.
    #[serde(default)]
    pub joined_by: Option<String>,
}

/// The three kinds of token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// May do everything, tokens included.
    Root,
    /// May do what its rights say.
    Client(Rights),
    /// May only be exchanged for a client token.
    Join {
        /// The rights of the tokens it is exchanged for, with `{name}` for the name that joins.
        template: Rights,
        /// Seconds since 1970 from when on it is void.
        expires: u64,
        /// How often it can still be used.
        uses: u32,
    },
}

impl Token {
    /// Makes a token from 8 random bytes for its id and 32 for its secret; returns it with the text to show once.
    pub fn new(random: &Randomness, name: &str, kind: Kind, created: u64) -> (Token, String) {
        let id = hexadecimal(&random.0[..8]);
        let text = format!("fp-{id}-{}", hexadecimal(&random.0[8..]));
        (Token { id, hash: hash(&text), name: name.to_owned(), kind, created, joined_by: None }, text)
    }

    /// Tells whether `text` is this token.
    pub fn is(&self, text: &str) -> bool {
        hash(text).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }

    /// Returns the join token with one use less.
    ///
    /// # Errors
    /// It is no join token, expired, or used up.
    pub fn after_one_use(&self, now: u64) -> Result<Token, String> {
        let Kind::Join { template, expires, uses } = &self.kind else {
            return Err("this is no join token".into());
        };
        if *expires <= now {
            return Err("the join token has expired".into());
        }
        let uses = uses.checked_sub(1).ok_or_else(|| "the join token is used up".to_owned())?;
        let kind = Kind::Join { template: template.clone(), expires: *expires, uses };
        Ok(Token { kind, ..self.clone() })
    }
}

/// The bytes a token is made of.
#[derive(Clone)]
pub struct Randomness([u8; 40]);

impl Randomness {
    /// Reads them from the operating system.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn read() -> Result<Self, ring::error::Unspecified> {
        let mut bytes = [0; 40];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(Randomness(bytes))
    }
}

/// Returns the id in a token's text, if it looks like a token.
pub fn id_of(text: &str) -> Option<&str> {
    let (id, secret) = text.strip_prefix("fp-")?.split_once('-')?;
    (id.len() == 16 && secret.len() == 64).then_some(id)
}

fn hash(text: &str) -> String {
    hexadecimal(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
