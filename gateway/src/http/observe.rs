//! Counts and times requests.

use std::collections::HashMap;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::RwLock;

/// What is recorded about requests that match nothing: a client must not be able to make new time series.
pub(super) const OTHER: &str = "other";

type Routes = HashMap<Box<str>, Counter>;

/// The meters of requests, looked up by what a request was. Making a meter's labels anew for each took a tenth of what an answer from
/// memory costs. There are as many as routes times what they answer.
#[derive(Default)]
pub(super) struct Meters {
    requests: RwLock<HashMap<(&'static str, StatusCode), Routes>>,
    seconds: RwLock<HashMap<Box<str>, Histogram>>,
}

impl Meters {
    /// Records a request: its method, the pattern of its route, its answer, and how long that took.
    pub(super) fn record(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = label(method);
        let known = |meters: &HashMap<_, Routes>| {
            meters.get(&(method, status)).and_then(|routes| routes.get(route)).map(|one| one.increment(1))
        };
        if known(&self.requests.read()).is_none() {
            let labels = [
                ("method", method.to_owned()),
                ("route", route.to_owned()),
                ("status", status.as_u16().to_string()),
            ];
            let one = counter!("bicast_http_requests_total", &labels);
            one.increment(1);
            self.requests.write().entry((method, status)).or_default().insert(route.into(), one);
        }
        let took = took.as_secs_f64();
        let known = |meters: &HashMap<Box<str>, Histogram>| meters.get(route).map(|one| one.record(took));
        if known(&self.seconds.read()).is_none() {
            let one = histogram!("bicast_http_request_seconds", "route" => route.to_owned());
            one.record(took);
            self.seconds.write().insert(route.into(), one);
        }
    }
}

/// The method, if it is one that is known: a client can send any word.
const fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}
