//! Gates: what people do to them, how they are shown, and what is remembered of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use footplate_core::fleet::Records;
use footplate_core::gate::{self, Door, Freeze, Gate, Halted, Lock, Opening};
use footplate_core::moment::Moment;
use footplate_core::name::{Actor, AppName, AppPath, EnvironmentName};
use footplate_core::record::Key;
use footplate_core::rollout::Delivery;
use footplate_drivers::store::Write;
use serde::Deserialize;

use super::act::Worker;
use super::commit::put;
use super::extract::Asked;
use super::find::known;
use super::journal::Journal;
use super::orders::{Answer, named, refused};
use super::site::{Site, encode};
use super::{Shared, status};
use crate::api::{self, GateChange, GateStatus, Problem, ProblemKind};
use crate::{clock, freeze};

impl Site {
    /// Returns an app's gate with the freeze windows that hold now: those set by hand, those of what runs, of what waits, and of
    /// what is `coming`.
    pub(super) fn door(&self, path: &AppPath, coming: Option<&Delivery>, now: Moment) -> Door {
        let app = self.apps.get(path);
        let gate = app.and_then(|app| app.gate.clone()).unwrap_or_default();
        let current = app.and_then(|app| app.current.as_ref());
        let waiting = current.and_then(|current| current.waiting.as_ref()).map(|waiting| &waiting.delivery);
        let runs = current.map(|current| &current.delivery);
        let deployed = [runs, waiting, coming].into_iter().flatten().flat_map(|delivery| &delivery.freezes);
        let by_hand = gate.freezes.iter().map(|freeze| &freeze.window);
        let frozen = freeze::frozen(deployed.chain(by_hand), now);
        Door { gate, frozen }
    }
}

/// Returns the write that halts an app's gate together with the records that say why; nothing when they do not.
pub(super) fn halt(worker: &Worker<'_>, records: &Records) -> Option<Write> {
    let path = &records.current.path;
    let gate = worker.shared.site().door(path, None, clock::now()).gate;
    let halted = records.halts.clone()?;
    Some(put(&Key::Gate(path.clone()), encode(&gate.halt(halted))))
}

/// Remembers that a gate was halted, once for each rollout that did it.
pub(super) fn note_halt(journal: &Journal, path: &AppPath, halted: &Halted, actor: &Actor) {
    let text = format!("the gate of `{path}` is halted: {}", halted.sentence());
    journal.note_once(path, halted.rollout, "halted", actor, &text);
}

/// Remembers what a turn made of a gate.
pub(super) fn note_turn(journal: &Journal, path: &AppPath, gate: &Gate, actor: &Actor) {
    let Some(halted) = &gate.halted else { return };
    note_halt(journal, path, halted, actor);
    if let Some(fixed) = &halted.fixed_by {
        let (open, release) = (halted.way_open(path), &fixed.release);
        let text =
            format!("the fix `{release}` has arrived, and the gate of `{path}` stays halted until `{open}`");
        journal.note_once(path, fixed.rollout, "fixed", actor, &text);
    }
}

/// Carries out a person's order for a gate.
pub(super) async fn change(
    worker: &Worker<'_>,
    order: api::GateOrder,
    what: &str,
) -> Result<Answer, Problem> {
    let (path, actor, now) = (&order.path, named(order.by.actor.as_ref()), clock::now());
    let before = {
        let site = worker.shared.site();
        known(&site, path, what)?;
        site.door(path, None, now).gate
    };
    let (gate, kind, text) = changed(&before, &order, &actor, now, what)?;
    let write = put(&Key::Gate(path.clone()), encode(&gate));
    worker.write_together(vec![write]).await.map_err(|trip| trip.problem(what))?;
    let rollout = before.halted.as_ref().filter(|_| gate.halted.is_none()).map(|halted| halted.rollout);
    worker.shared.journal.note(Some(path), rollout, kind, &actor, &text);
    Ok(Answer::Gate(Box::new(shown(&worker.shared.site(), path, clock::now()))))
}

/// Returns the gate as it becomes, with the kind and the sentence for the history.
fn changed(
    gate: &Gate,
    order: &api::GateOrder,
    actor: &Actor,
    now: Moment,
    what: &str,
) -> Result<(Gate, &'static str, String), Problem> {
    let path = &order.path;
    let reason = order.by.reason.clone().unwrap_or_default();
    let told = |what: String| format!("{actor} {what} the gate of `{path}`");
    Ok(match &order.change {
        GateChange::Open { whys, test, of } => {
            let opening = Opening { by: actor.clone(), at: now, whys: whys.clone(), test: test.clone() };
            let text = told(format!("says the cause ({opening}) and opens"));
            (gate.open(path, *of, opening).map_err(refused)?, "opened", text)
        }
        GateChange::Lock { until } => {
            let length = footplate_core::moment::in_words(until.since(now));
            let text = format!("{}{}", told(format!("locks for {length}")), order.by.because());
            let lock = Lock { owner: actor.clone(), reason, since: now, until: *until };
            (gate.lock(path, lock).map_err(refused)?, "locked", text)
        }
        GateChange::Unlock { owner } => {
            let owner = owner.as_ref().unwrap_or(actor);
            let text =
                format!("{actor} takes the lock of {owner} off the gate of `{path}`{}", order.by.because());
            (gate.unlock(path, owner, now).map_err(refused)?, "unlocked", text)
        }
        GateChange::Freeze { window } => {
            if !freeze::knows(&window.zone) {
                let because = format!("the controller's machine knows no time zone `{}`", window.zone);
                let next = "name one as IANA does, such as Europe/Berlin";
                return Err(Problem::new(ProblemKind::Refused, what, because, next));
            }
            let text = format!("{}, {window}", told("freezes".to_owned()));
            let freeze = Freeze { window: window.clone(), owner: actor.clone(), since: now };
            (gate.freeze(path, freeze).map_err(refused)?, "frozen", text)
        }
        GateChange::Unfreeze { name } => {
            let text = format!("{actor} ends the freeze window `{name}` of `{path}`{}", order.by.because());
            (gate.unfreeze(path, name).map_err(refused)?, "unfrozen", text)
        }
    })
}

#[derive(Deserialize)]
pub(super) struct Whose {
    environment: EnvironmentName,
    app: AppName,
}

/// `GET`: one app's gate.
pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Asked(whose): Asked<Whose>,
) -> Result<Json<GateStatus>, Problem> {
    let path = AppPath { environment: whose.environment, app: whose.app };
    let site = shared.site();
    known(&site, &path, &format!("cannot show the gate of `{path}`"))?;
    Ok(Json(shown(&site, &path, clock::now())))
}

/// Returns a gate as people see it.
fn shown(site: &Site, path: &AppPath, now: Moment) -> GateStatus {
    let door = site.door(path, None, now);
    let closures = door.closures(now);
    let app = site.apps.get(path);
    let current = app.and_then(|app| app.current.as_ref());
    let waiting = app.zip(current).and_then(|(app, current)| status::waiting(app, current, &door, now));
    GateStatus {
        path: path.clone(),
        at: now,
        is_closed: !closures.is_empty(),
        sentences: closures.iter().map(|closure| closure.sentence(now)).collect(),
        closures,
        windows: current.map(|current| current.delivery.freezes.clone()).unwrap_or_default(),
        gate: door.gate,
        waiting,
    }
}

/// Returns why a gate is closed, in a line; nothing while it is open.
pub(super) fn in_a_line(door: &Door, now: Moment) -> Option<String> {
    let closures = door.closures(now);
    (!closures.is_empty()).then(|| gate::sentences(&closures, now))
}
