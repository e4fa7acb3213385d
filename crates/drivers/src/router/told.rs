//! What the built-in router's API says of failed requests and busy clients, in the core's words.

use std::time::Duration;

use footplate_core::moment::Moment;
use footplate_core::traffic::counts::{Busiest, FailedRequest, Fault, How};
use footplate_router::{busy, count, failed};

/// Reads a record; nothing of a service or a version that somebody else named.
pub(super) fn failed(told: failed::FailedRequest) -> Option<FailedRequest> {
    let how = match told.how {
        failed::How::Status(status) => How::Status(status),
        failed::How::Fault(fault) => How::Fault(kind(fault)),
    };
    Some(FailedRequest {
        number: told.number,
        at: Moment::from_millis(told.at_ms),
        target: told.service.parse().ok()?,
        release: told.version.parse().ok()?,
        key: told.key,
        method: told.method,
        path: told.path,
        how,
        time: Duration::from_micros(told.time_us),
    })
}

/// Reads how busy the busiest are.
pub(super) fn busiest(told: busy::Busiest) -> Busiest {
    let busy::Busiest { sampled, of_ten } = told;
    Busiest { sampled, of_ten }
}

/// Reads why there was no answer.
pub(super) fn kind(fault: count::Fault) -> Fault {
    match fault {
        count::Fault::Connect => Fault::Connect,
        count::Fault::Broken => Fault::Broken,
        count::Fault::Stale => Fault::Stale,
        count::Fault::Timeout => Fault::Timeout,
    }
}
