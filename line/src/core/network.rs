//! How bad a line is.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// What a line does to what passes it. The default does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Network {
    /// Share of UDP packets that are lost, each way. Over TCP nothing can be missing: a lost segment of 1,460 bytes holds its connection's
    /// direction for two round trips, 200 ms at least, as its retransmission would.
    #[schema(minimum = 0, maximum = 1, example = 0.1)]
    pub loss_ratio: f64,
    /// Milliseconds that everything takes longer, each way.
    #[schema(maximum = 2000, example = 80)]
    pub delay_ms: u32,
    /// Milliseconds that each UDP packet takes longer on top, at random from 0 up to this, each way. Packets may overtake each other.
    #[schema(maximum = 500, example = 20)]
    pub jitter_ms: u32,
    /// Kilobits a second that pass towards the viewer, UDP and TCP together; null sets no limit. UDP packets that would wait longer than 250 ms
    /// for their turn are dropped.
    #[schema(minimum = 64, maximum = 100_000, example = 1500)]
    pub rate_kbps: Option<u32>,
    /// Whether UDP passes at all.
    #[schema(example = true)]
    pub udp: bool,
}

impl Default for Network {
    fn default() -> Self {
        Self { loss_ratio: 0.0, delay_ms: 0, jitter_ms: 0, rate_kbps: None, udp: true }
    }
}

/// A part of a network: what is left out stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkChange {
    /// As in `Network`.
    #[serde(deserialize_with = "said")]
    #[schema(required = false, value_type = f64, minimum = 0, maximum = 1)]
    pub loss_ratio: Option<f64>,
    /// As in `Network`.
    #[serde(deserialize_with = "said")]
    #[schema(required = false, value_type = u32, maximum = 2000)]
    pub delay_ms: Option<u32>,
    /// As in `Network`.
    #[serde(deserialize_with = "said")]
    #[schema(required = false, value_type = u32, maximum = 500)]
    pub jitter_ms: Option<u32>,
    /// As in `Network`: null takes the limit away.
    #[serde(deserialize_with = "said")]
    #[schema(value_type = Option<u32>, minimum = 64, maximum = 100_000)]
    pub rate_kbps: Option<Option<u32>>,
    /// As in `Network`.
    #[serde(deserialize_with = "said")]
    #[schema(required = false, value_type = bool)]
    pub udp: Option<bool>,
}

/// Keeps `null` apart from what is not said: only where `T` has a null may it be one.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A value that no network can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{member} is {value}; it may be {allowed}")]
pub struct BadNetwork {
    /// The member that is wrong, as JSON names it.
    pub member: &'static str,
    value: String,
    allowed: &'static str,
}

impl Network {
    /// The network with this change.
    ///
    /// # Errors
    /// The first value out of its range; nothing is changed then.
    pub fn with(self, change: &NetworkChange) -> Result<Self, BadNetwork> {
        let changed = Self {
            loss_ratio: change.loss_ratio.unwrap_or(self.loss_ratio),
            delay_ms: change.delay_ms.unwrap_or(self.delay_ms),
            jitter_ms: change.jitter_ms.unwrap_or(self.jitter_ms),
            rate_kbps: change.rate_kbps.unwrap_or(self.rate_kbps),
            udp: change.udp.unwrap_or(self.udp),
        };
        changed.check()?;
        Ok(changed)
    }

    fn check(&self) -> Result<(), BadNetwork> {
        let bad = |member, value: String, allowed| Err(BadNetwork { member, value, allowed });
        if !(0.0..=1.0).contains(&self.loss_ratio) {
            return bad("lossRatio", self.loss_ratio.to_string(), "0 to 1");
        }
        if self.delay_ms > 2_000 {
            return bad("delayMs", self.delay_ms.to_string(), "0 to 2000");
        }
        if self.jitter_ms > 500 {
            return bad("jitterMs", self.jitter_ms.to_string(), "0 to 500");
        }
        match self.rate_kbps {
            Some(rate) if !(64..=100_000).contains(&rate) => {
                bad("rateKbps", rate.to_string(), "null or 64 to 100000")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Result<NetworkChange, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_stays_and_null_takes_the_limit_away() {
        let bad = Network { loss_ratio: 0.3, delay_ms: 100, rate_kbps: Some(500), ..Network::default() };
        let changed = bad.with(&change(r#"{"delayMs": 40, "udp": false}"#).unwrap()).unwrap();
        assert_eq!(changed, Network { delay_ms: 40, udp: false, ..bad });
        assert_eq!(bad.with(&change("{}").unwrap()), Ok(bad));
        assert_eq!(bad.with(&change(r#"{"rateKbps": null}"#).unwrap()).unwrap().rate_kbps, None);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_name_and_range() {
        for (text, said) in [
            (r#"{"lossRatio": 1.01}"#, "lossRatio is 1.01; it may be 0 to 1"),
            (r#"{"lossRatio": -0.01}"#, "lossRatio is -0.01; it may be 0 to 1"),
            (r#"{"delayMs": 2001}"#, "delayMs is 2001; it may be 0 to 2000"),
            (r#"{"jitterMs": 501}"#, "jitterMs is 501; it may be 0 to 500"),
            (r#"{"rateKbps": 63}"#, "rateKbps is 63; it may be null or 64 to 100000"),
            (r#"{"rateKbps": 100001}"#, "rateKbps is 100001; it may be null or 64 to 100000"),
        ] {
            let refused = Network::default().with(&change(text).unwrap()).unwrap_err();
            assert_eq!(refused.to_string(), said, "{text}");
        }
        for edge in [
            r#"{"lossRatio": 0, "delayMs": 0, "jitterMs": 0, "rateKbps": 64}"#,
            r#"{"lossRatio": 1, "delayMs": 2000, "jitterMs": 500, "rateKbps": 100000}"#,
        ] {
            assert!(Network::default().with(&change(edge).unwrap()).is_ok(), "{edge}");
        }
        for text in [
            r#"{"lossRatio": null}"#,
            r#"{"udp": null}"#,
            r#"{"delayMs": -1}"#,
            r#"{"delayMs": 1.5}"#,
            r#"{"loss": 0.1}"#,
            r#"{"udp": 1}"#,
            "[",
        ] {
            assert!(change(text).is_err(), "{text}");
        }
    }
}
