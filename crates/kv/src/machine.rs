//! The store's state machine: a command and a time in, an answer and changes out. No clock, no randomness, no IO.
//!
//! The caller makes the changes durable before it shows anybody the answer.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{Answer, Command, Content, Operation};
use crate::draft::{Draft, check_session_id};
use crate::entry::Session;
use crate::state::{Change, Changes, State};
use crate::timers::Timers;
use crate::token::Token;
use crate::transaction;

/// How far the index jumps on a restore, so that no reader holds an index from the lost future.
pub const RESTORE_JUMP: u64 = 1 << 32;

/// The two clocks a command is judged by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Time since some fixed start; never goes back. For sessions and lock-delays.
    pub steady: Duration,
    /// Seconds since 1970, for what must hold across restarts: the expiry of join tokens.
    pub wall: u64,
}

/// The state and its timers.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    state: State,
    timers: Timers,
}

impl Machine {
    /// Starts from a state, with every session's time to live afresh.
    pub fn new(state: State, now: Now) -> Self {
        let mut timers = Timers::default();
        for session in state.sessions() {
            timers.start(session, now.steady);
        }
        Machine { state, timers }
    }

    /// Returns the state as it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns when [`Command::ExpireSessions`] is next worth giving.
    pub fn next_expiry(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Carries out one command. A refused or failed one changes nothing.
    pub fn apply(&mut self, command: Command, now: Now) -> (Answer, Changes) {
        let mut draft = Draft::new(&self.state);
        let (answer, keep) = match command {
            Command::Write(operation) => write(&mut draft, operation, &self.timers, now),
            Command::Transact(operations) => transact(&mut draft, &operations, &self.timers, now),
            Command::OpenSession(session) => open_session(&mut draft, session, &mut self.timers, now),
            Command::RenewSession(id) => renew_session(&self.state, &id, &mut self.timers, now),
            Command::EndSession(id) => end_session(&mut draft, &self.state, &id, &mut self.timers, now),
            Command::ExpireSessions => expire_sessions(&mut draft, &self.state, &mut self.timers, now),
            Command::SetToken(token) => {
                draft.note(Change::TokenSet(Arc::new(token)));
                (Answer::Applied(true), true)
            }
            Command::RevokeToken(id) => {
                let known = self.state.token(&id).is_some();
                draft.note(Change::TokenRevoked(id));
                (Answer::Applied(known), known)
            }
            Command::Join { join, token } => join_with(&mut draft, &self.state, &join, token, now),
            Command::Restore(contents) => restore(&mut draft, contents),
        };
        let mut changes = if keep { draft.into_changes() } else { Changes::default() };
        self.state.absorb(&changes);
        if let Some(up_to) = self.state.overfull_graveyard() {
            changes.list.push(Change::Reaped(up_to));
            self.state.absorb(&Changes { index: changes.index, list: vec![Change::Reaped(up_to)] });
        }
        (answer, changes)
    }
}

fn write(draft: &mut Draft<'_>, operation: Operation, timers: &Timers, now: Now) -> (Answer, bool) {
    let applied = match operation {
        Operation::Set(content) => Ok(draft.set(content).modify_index > 0),
        Operation::Cas(content, index) => Ok(draft.set_if(content, index).is_some()),
        Operation::Lock(content, _) if timers.is_delayed(&content.key, now.steady) => Ok(false),
        Operation::Lock(content, session) => draft.lock(content, &session).map(|entry| entry.is_some()),
        Operation::Unlock(content, session) => draft.unlock(content, &session).map(|entry| entry.is_some()),
        Operation::Delete(key) => {
            draft.remove(&key);
            Ok(true)
        }
        Operation::DeleteTree(prefix) => {
            draft.remove_tree(&prefix);
            Ok(true)
        }
        Operation::DeleteCas(key, index) => Ok(draft.remove_if(&key, index)),
        read => Err(format!("{:?} is not a write", read.key())),
    };
    match applied {
        Ok(applied) => (Answer::Applied(applied), applied),
        Err(why) => (Answer::Refused(why), false),
    }
}

fn transact(draft: &mut Draft<'_>, operations: &[Operation], timers: &Timers, now: Now) -> (Answer, bool) {
    let failed = transaction::check(operations, |key| timers.is_delayed(key, now.steady));
    if !failed.is_empty() {
        return (Answer::Conflicted(failed), false);
    }
    match transaction::run(draft, operations) {
        Ok(found) => (Answer::Transacted(found), true),
        Err(failed) => (Answer::Conflicted(failed), false),
    }
}

fn open_session(
    draft: &mut Draft<'_>,
    mut session: Session,
    timers: &mut Timers,
    now: Now,
) -> (Answer, bool) {
    session.create_index = draft.index();
    let session = Arc::new(session);
    timers.start(&session, now.steady);
    draft.note(Change::SessionOpened(session.clone()));
    (Answer::Session(session), true)
}

fn renew_session(state: &State, id: &str, timers: &mut Timers, now: Now) -> (Answer, bool) {
    if let Err(why) = check_session_id(id) {
        return (Answer::Refused(why), false);
    }
    let Some(session) = state.session(id) else {
        return (Answer::NoSession, false);
    };
    timers.start(session, now.steady);
    (Answer::Session(session.clone()), false)
}

fn end_session(
    draft: &mut Draft<'_>,
    state: &State,
    id: &str,
    timers: &mut Timers,
    now: Now,
) -> (Answer, bool) {
    if let Err(why) = check_session_id(id) {
        return (Answer::Refused(why), false);
    }
    let Some(session) = state.session(id) else {
        return (Answer::Applied(true), false);
    };
    let keys = draft.end_session(session);
    timers.stop(id);
    timers.delay(keys, session, now.steady);
    (Answer::Applied(true), true)
}

fn expire_sessions(draft: &mut Draft<'_>, state: &State, timers: &mut Timers, now: Now) -> (Answer, bool) {
    let due = timers.due(now.steady);
    let any = !due.is_empty();
    for id in due {
        end_session(draft, state, &id, timers, now);
        timers.stop(&id);
    }
    (Answer::Applied(any), any)
}

fn join_with(draft: &mut Draft<'_>, state: &State, join: &str, token: Token, now: Now) -> (Answer, bool) {
    let used = state.token(join).ok_or_else(|| "the join token is revoked".to_owned());
    match used.and_then(|join| join.after_one_use(now.wall)) {
        Ok(left) => {
            let older =
                state.tokens().filter(|known| known.joined_by == token.joined_by && known.name == token.name);
            older.for_each(|known| draft.note(Change::TokenRevoked(known.id.clone())));
            draft.note(Change::TokenSet(Arc::new(left)));
            draft.note(Change::TokenSet(Arc::new(token)));
            (Answer::Applied(true), true)
        }
        Err(why) => (Answer::Refused(why), false),
    }
}

fn restore(draft: &mut Draft<'_>, contents: Vec<Content>) -> (Answer, bool) {
    draft.jump(RESTORE_JUMP);
    for content in contents {
        draft.set(content);
    }
    draft.note(Change::Jumped);
    (Answer::Applied(true), true)
}
